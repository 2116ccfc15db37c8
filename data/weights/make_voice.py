"""Make the weights of the voice network and their card: python make_voice.py CHECKPOINT HOURS "WHAT IT RAN ON".

CHECKPOINT is that of `specdehaze.voice_training`; HOURS is how long all of its steps took. voice.safetensors holds the
running mean of the weights, and voice.md says in words what the card in it says in JSON.
"""

import sys
from datetime import date
from pathlib import Path

from specdehaze.checkpoints import load_network, read_checkpoint, save_weights
from specdehaze.networks import count_parameters
from specdehaze.tables import write_whole

WEAK = (
    "It learnt from speech, and music was among its noises: it is for speech, not for songs. Each channel is "
    "cleaned by itself. Above 8 kHz it turns the recording up and down as a whole."
)


def card_of(record: dict, hours: float, machine: str) -> dict:
    "What a user of the weights wants to know."
    last = record["rows"][-1]
    scores = {name: round(last[name], 3) for name in ("si_sdr", "pesq_wb", "stoi", "clean_si_sdr")}
    settings, said = record["settings"], record.get("data", {})
    return {
        "data": said, "licence": "Apache-2.0", "seed": settings["mixing"]["seed"], "hours": round(hours, 2),
        "machine": machine, "date": date.today().isoformat(), "steps": record["step"], "validation": scores,
        "training": settings,
    }


def in_words(card: dict, parameters: int, megabytes: float) -> str:
    "The card as a page."
    scores = "SI-SDR {si_sdr} dB, PESQ {pesq_wb}, STOI {stoi}; clean voices come out at {clean_si_sdr} dB"
    data, training = card["data"], card["training"]
    mixing, loss = (
        ", ".join(f"{name} {value}" for name, value in training[part].items()) for part in ("mixing", "weights")
    )
    rows = {
        "parameters": f"{parameters:,}, {megabytes:.1f} MB",
        "learnt from": f"{data['hours_of_clean_sound']} h of {data['voices']} voices, each at several speeds",
        "voices": ", ".join(data["sources"]) + "; see [the catalogue](../sources.csv)",
        "noises": data["noises"],
        "mixing": mixing,
        "loss": loss,
        "training": f"{card['steps']} steps, rate {training['learning_rate']}, mean over steps {training['average']}",
        "remark": data["remark"],
        "took": f"{card['hours']} h on {card['machine']}, {card['date']}",
        "validation": scores.format(**card["validation"]) + "; clips of 5 s at 0 to 15 dB",
        "licence": f"{card['licence']} for the weights; the recordings keep theirs: {', '.join(data['licences'])}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    first = 'A VoiceNetwork that takes noise off voices, block by block and 32 ms late. `Dehazer("voice")` uses it.'
    return f"# voice\n\n{first}\n\n| | |\n|---|---|\n{table}\n\n{WEAK}\n"


def main(checkpoint: str, hours: str, machine: str) -> None:
    "Write both files beside this script."
    network, folder = load_network(checkpoint), Path(__file__).resolve().parent
    card = card_of(read_checkpoint(checkpoint)["specdehaze"], float(hours), machine)
    weights = save_weights(network, folder / "voice.safetensors", card)
    page = in_words(card, count_parameters(network), weights.stat().st_size / 1e6)
    write_whole(folder / "voice.md", page.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
