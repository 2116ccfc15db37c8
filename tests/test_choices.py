"What a user chooses by name."

import pytest

from specdehaze.choices import choose_device, unknown_name


@pytest.mark.parametrize(
    "wanted, known, message",
    [
        ("appel", ["apple", "pear"], "no fruit is called 'appel': did you mean 'apple'? known are apple, pear"),
        ("xyz", ["apple"], "no fruit is called 'xyz': known are apple"),
        ("xyz", [], "no fruit is called 'xyz': known are none"),
    ],
)
def test_an_unknown_name_is_told_from_the_known(wanted, known, message):
    assert str(unknown_name("no fruit", wanted, known)) == message


@pytest.mark.parametrize("device", ["abacus", "hpu", ""])  # "hpu" has a name in PyTorch, and a module that is not there
def test_a_device_that_is_not_there_is_refused_with_advice(device):
    with pytest.raises(ValueError, match="try 'cpu' or 'auto'"):
        choose_device(device)
