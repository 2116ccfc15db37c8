"""Make shipped weights and their card from a training run: python make_weights.py NAME RUN CORPUS "WHAT IT RAN ON".

NAME.safetensors holds the weights of the best epoch. NAME.md says in words what the card in it says in JSON, and adds
the scores of figures/hum_table.csv or figures/voice_table.csv.
"""

import sys
from collections import Counter
from datetime import date
from pathlib import Path
from statistics import fmean

from specdehaze.checkpoints import load_network, read_checkpoint, save_weights
from specdehaze.corpus import Corpus
from specdehaze.networks import count_parameters
from specdehaze.tables import read_table, write_whole

ROOT = Path(__file__).resolve().parents[2]
WHAT = {
    "hum_unet": "masks mains hum of 50 or 60 Hz below 4 kHz under voices",
    "hybrid": "takes noise off voices: rain, machines, keys, a crowd, music, the tail of a room",
}
VOICES = ("it_", "ru_")  # how clips of the test voices are called
DIGITS = {"si_sdr": 1, "pesq_wb": 2, "stoi": 3}
WEAK = {
    "hum_unet": "It is a mask: `hum`, which subtracts, is better by far wherever there is a steady mains frequency. "
    "It learnt from speech, not from instruments, and takes held notes for hum: music can come out worse than it went "
    "in.",
    "hybrid": "The networks that other people install leave it behind in nearly every score. Low rumble, as of wind or "
    "a pump, mostly stays. Music was among the noises it learnt to take off: it is for speech, not for songs. It needs "
    "the whole recording, or blocks of some seconds: it is not for live use.",
}


def best_checkpoint(run: Path) -> Path:
    "The epoch with the highest SI-SDR on the validation clips."
    rows = read_table(run / "metrics.csv")
    best = max(rows, key=lambda row: row["val_si_sdr"])
    return next((run / "checkpoints").glob(f"*_epoch_{int(best['epoch']):03}.ckpt"))


def material(corpus: Corpus) -> dict:
    "What the training split is made of."
    mixes = corpus.mixes("train")
    sources = Counter(source for mix in mixes for source in mix.source.replace(",", " ").split())
    licences = sorted({name.strip() for mix in mixes for name in mix.licence.split(",")})
    clips = {mix.clip: mix.seconds for mix in mixes}
    settings = corpus.settings
    return {
        "corpus": f"specdehaze corpus build --kind {settings.kind} --profile {settings.profile} --seed {settings.seed}",
        "tables": corpus.digest,
        "hours_of_clean_sound": round(sum(clips.values()) / 3600, 2),
        "mixes": len(mixes),
        "voices": len({mix.voice for mix in mixes}),
        "sources": sorted(sources),
        "licences": licences,
    }


def scores(name: str, table: str, group: str) -> list[str]:
    "Lines of means over the test clips, one for each method."
    path = ROOT / "figures" / f"{table}.csv"
    rows = read_table(path) if path.exists() else []
    rows = [row for row in rows if row["status"] == "" and row["clip"][:3] in VOICES]
    if name not in {row["method"] for row in rows}:
        return []
    columns = [key for key in DIGITS if key in rows[0]]
    groups = list(dict.fromkeys(row[group] for row in rows)) if group else [None]
    clips = len({row["clip"] for row in rows})
    lines = [f"Means over {clips} test clips at 0, 5, 10 and 15 dB (`specdehaze report {table} --profile full`).", ""]
    lines += ["| method | " + " | ".join(f"{g or ''} {c}".strip() for g in groups for c in columns) + " |"]
    lines += ["|" + "---|" * (1 + len(groups) * len(columns))]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [[r for r in rows if r["method"] == method and (g is None or r[group] == g)] for g in groups]
        cells = [f"{fmean(row[c] for row in some):.{DIGITS[c]}f}" if some else "" for some in mine for c in columns]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return ["", "## Scores", "", *lines]


def main(name: str, run: Path, corpus: Corpus, machine: str) -> None:
    "Write the weights and the card."
    checkpoint = best_checkpoint(run)
    record, rows = read_checkpoint(checkpoint)["specdehaze"], read_table(run / "metrics.csv")
    settings, network = record["settings"], load_network(checkpoint)
    best = rows[record["epoch"] - 1]
    card = {
        "data": material(corpus),
        "licence": "Apache-2.0",
        "seed": settings["seed"],
        "hours": round(sum(row["seconds"] for row in rows) / 3600, 2),
        "machine": machine,
        "date": f"{date.fromtimestamp((run / 'metrics.csv').stat().st_mtime):%Y-%m-%d}",
        "epoch": record["epoch"],
        "validation_si_sdr_rise": round(best["val_si_sdr_improvement"], 2),
        "training": settings,
    }
    path = save_weights(network, ROOT / "data" / "weights" / f"{name}.safetensors", card)
    data = card["data"]
    lines = [
        f"# {name}",
        "",
        f"A {type(network).__name__} that {WHAT[name]}. `Dehazer(\"{name}\")` uses it.",
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {count_parameters(network):,}, {path.stat().st_size / 1e6:.1f} MB |",
        f"| shape | {', '.join(f'{key} {value}' for key, value in record['network']['preset'].items())} |",
        f"| learnt from | {data['hours_of_clean_sound']} h of {data['voices']} voices in {data['mixes']} mixes: "
        f"`{data['corpus']}`, tables {data['tables'][:16]} |",
        f"| sources | {', '.join(data['sources'])}; see [the catalogue](../sources.csv) |",
        f"| loss | {', '.join(f'{weight:g} {term}' for term, weight in settings['loss'].items())} |",
        f"| training | {settings['epochs']} epochs, seed {settings['seed']}, rate {settings['learning_rate']:g}, "
        f"batches of {settings['batch_size']} crops of {settings['seconds']:g} s |",
        f"| took | {card['hours']} h on {machine}, {card['date']} |",
        f"| best epoch | {card['epoch']}, {card['validation_si_sdr_rise']:+.2f} dB SI-SDR on the validation clips |",
        f"| licence | {card['licence']} for the weights; the recordings keep theirs: {', '.join(data['licences'])} |",
        "",
        WEAK[name],
        *scores(name, "hum_table" if name == "hum_unet" else "voice_table", "hum" if name == "hum_unet" else ""),
    ]
    write_whole(path.with_suffix(".md"), ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Corpus(sys.argv[3]), sys.argv[4])
