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
    "It learnt from few voices, and music was among its noises: it is for speech, not for songs. Each channel is "
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


def main(checkpoint: str, hours: str, machine: str) -> None:
    "Write both files beside this script."
    network, folder = load_network(checkpoint), Path(__file__).resolve().parent
    card = card_of(read_checkpoint(checkpoint)["specdehaze"], float(hours), machine)
    save_weights(network, folder / "voice.safetensors", card)
    scores = ", ".join(f"{name} {value}" for name, value in card["validation"].items())
    text = f"""# voice

{count_parameters(network):,} parameters that take noise off voices, block by block, 32 ms late.

- Made on {card["date"]} in {card["hours"]} hours on {machine}: {card["steps"]} steps, seed {card["seed"]}.
- On clips of validation voices and noises at 0 to 15 dB: {scores}.
- Data: {card["data"]}
- Settings: {card["training"]}
- Licence: {card["licence"]}.

{WEAK}
"""
    write_whole(folder / "voice.md", text.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
