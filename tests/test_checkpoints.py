"Weights come back as they were saved, and what is no file of ours is refused with a sentence that helps."

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from specdehaze.checkpoints import (
    PRESETS,
    CheckpointError,
    build,
    load_network,
    pack,
    read_card,
    read_checkpoint,
    save_weights,
    unpack,
)
from specdehaze.hybrid_unet import HybridPreset
from specdehaze.recordings import resource_folder
from specdehaze.spectrogram_unet import UNetPreset
from specdehaze.voice_network import VoicePreset

TINY = {
    "unet": UNetPreset(base=2),
    "hybrid": HybridPreset(base=2, mel_bands=40, memory=4),
    "voice": VoicePreset(units=8, layers=1),
}
SHIPPED = sorted((resource_folder("data") / "weights").glob("*.safetensors"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_packed_preset_survives_json(name):
    packed = json.loads(json.dumps(pack(build(name))))
    assert unpack(packed).preset == PRESETS[name]


@pytest.mark.parametrize("kind", TINY)
def test_weights_come_back_bit_for_bit(kind, tmp_path):
    network = build(TINY[kind])
    network(torch.randn(2, 8000))  # moves the running means of batch normalisation
    path = save_weights(network, tmp_path / "a.safetensors", {"hours": 1.5, "licence": "CC0"})
    again = load_network(path)
    assert not again.training and again.preset == TINY[kind]
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    assert read_card(path) == {"hours": 1.5, "licence": "CC0"}


def test_a_checkpoint_of_a_training_run_loads_by_itself(tmp_path):
    network = build(TINY["unet"])
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"specdehaze": {"network": pack(network)}, "state_dict": state}, tmp_path / "a.ckpt")
    again = load_network(tmp_path / "a.ckpt")
    assert torch.equal(again.head.weight, network.head.weight)


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(CheckpointError, match="did you mean 'hum_unet'"):
        build("humunet")


@pytest.mark.parametrize(
    ("kind", "preset"), [("ResNet", {"depth": 3}), ("HybridUNet", {"depth": 3}), ("SpectrogramUNet", {"base": -1})]
)
def test_a_shape_that_no_network_has(kind, preset):
    packed = {"network": kind, "preset": preset}
    with pytest.raises(CheckpointError, match="another version of specdehaze"):
        unpack(packed)


def test_weights_are_saved_as_safetensors_only(tmp_path):
    with pytest.raises(CheckpointError, match="safetensors"):
        save_weights(build(TINY["unet"]), tmp_path / "a.pt", {})
    assert not list(tmp_path.iterdir())


def test_a_missing_file_says_what_there_is():
    with pytest.raises(CheckpointError, match="no_such"):
        load_network("no_such")


def test_a_cut_file_of_weights(tmp_path):
    path = save_weights(build(TINY["unet"]), tmp_path / "a.safetensors", {})
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_network(path)


def test_weights_of_another_program(tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="not of specdehaze"):
        load_network(tmp_path / "a.safetensors")


def weights_that_say(path, text):
    save_file(dict(build(TINY["unet"]).state_dict()), path, {"specdehaze": text})
    return path


@pytest.mark.parametrize("text", ["no JSON", "[]", "3", "{}", '{"network": "HybridUNet"}'])
def test_weights_that_say_nothing_of_use(text, tmp_path):
    path = weights_that_say(tmp_path / "a.safetensors", text)
    for read in (load_network, read_card):
        with pytest.raises(CheckpointError, match="damaged|not of specdehaze|no network here|without a card"):
            read(path)


def test_a_card_of_a_damaged_file(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"rubble")
    with pytest.raises(CheckpointError, match="damaged"):
        read_card(tmp_path / "a.safetensors")


def test_weights_that_do_not_fit_their_preset(tmp_path):
    network = build(TINY["unet"])
    text = json.dumps({"network": "SpectrogramUNet", "preset": {"base": 3}, "card": {}})
    save_file(dict(network.state_dict()), tmp_path / "a.safetensors", {"specdehaze": text})
    with pytest.raises(CheckpointError, match="do not fit"):
        load_network(tmp_path / "a.safetensors")


class Trap:
    def __reduce__(self):
        return exec, ("raise SystemExit('a checkpoint ran code')",)


@pytest.mark.parametrize("content", [b"", b"RIFF no checkpoint at all", pickle.dumps(Trap())])
def test_damaged_or_dangerous_checkpoints_are_refused(content, tmp_path):
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged, or no checkpoint"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    torch.save({"specdehaze": Trap()}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_cut_checkpoint(tmp_path):
    torch.save({"specdehaze": {}, "state_dict": {"a": torch.zeros(10000)}}, tmp_path / "a.ckpt")
    (tmp_path / "a.ckpt").write_bytes((tmp_path / "a.ckpt").read_bytes()[:20000])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_checkpoint_with_a_bit_of_its_directory_flipped(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"specdehaze": {}, "state_dict": {"a": torch.zeros(3)}}, path)
    whole = path.read_bytes()
    for place in range(whole.index(b"PK\x01\x02"), len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
        try:
            assert "state_dict" in read_checkpoint(path)
        except CheckpointError as error:
            assert "damaged" in str(error)


@pytest.mark.parametrize("said", [{}, {"network": 3}, {"network": {"network": "HybridUNet"}}])
def test_a_checkpoint_that_does_not_say_its_network(said, tmp_path):
    torch.save({"specdehaze": said}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="no network here"):
        load_network(tmp_path / "a.ckpt")


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"specdehaze": 3}, [1]])
def test_a_checkpoint_of_another_program(content, tmp_path):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="another program"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_weights_are_small_and_have_a_card(path):
    card = read_card(path.stem)
    assert path.stat().st_size < 8e6 and load_network(path.stem).preset == PRESETS[path.stem]
    assert {"data", "licence", "seed", "hours"} <= card.keys()
    assert path.with_suffix(".md").is_file()
