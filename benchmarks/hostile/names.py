"""Names and places that are none."""

from __future__ import annotations

from benchmarks.hostile.sender import EPOCH, FIRST, Files, Kind, Sender, rewritten

ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def _name(by: Sender) -> str:
    (path,) = by.named(by.good)
    return path.rpartition("/")[2]


def _called(by: Sender, name: str) -> Files:
    return by.at(by.name, name, content=by.good)


def _of_another_device(by: Sender) -> Files:
    return by.named(rewritten(by.good, words={"device": "honest"}))


def _in_the_folder_of(by: Sender, folder: str) -> Files:
    return by.at(folder, _name(by), content=by.good)


KINDS = [
    Kind(
        "no name of a batch",
        "a file called data.parquet",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, "data.parquet"),
    ),
    Kind(
        "another ending",
        "a batch called .csv",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, _name(by).replace(".parquet", ".csv")),
    ),
    Kind(
        "a second ending",
        "a batch called .parquet.parquet",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, f"{_name(by)}.parquet"),
    ),
    Kind(
        "a hidden file",
        "a batch whose name begins with a dot",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, f".{_name(by)}"),
    ),
    Kind(
        "named like a reason",
        "a batch that would be read as the reason of another",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, f"{_name(by)}.reason.json"),
    ),
    Kind(
        "a long name",
        "a name of 250 bytes, which leaves no room for a reason's",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, "x" * 250),
    ),
    Kind(
        "a folder deeper",
        "a batch in a folder of its device's",
        "it is not at inbox/<device>/<batch>",
        lambda by: by.at(by.name, "deeper", _name(by), content=by.good),
    ),
    Kind(
        "in no folder",
        "a batch right in the inbox",
        "it is not at inbox/<device>/<batch>",
        lambda by: by.at(_name(by), content=by.good),
    ),
    Kind(
        "in a folder that is no id",
        "a device called -rf",
        "cannot be part of a path. Use 1 to 64",
        lambda by: _in_the_folder_of(by, f"-rf {by.name}"),
    ),
    Kind(
        "in a folder of look-alikes",
        "a device whose name has a Cyrillic letter",
        "cannot be part of a path. Use 1 to 64",
        lambda by: _in_the_folder_of(by, f"{by.name}\N{CYRILLIC SMALL LETTER A}"),
    ),
    Kind(
        "upwards, escaped",
        "a device called ..%2fhonest",
        "cannot be part of a path. Use 1 to 64",
        lambda by: _in_the_folder_of(by, "..%2fhonest"),
    ),
    Kind(
        "upwards, as on Windows",
        "a device called ..\\honest",
        "cannot be part of a path. Use 1 to 64",
        lambda by: _in_the_folder_of(by, "..\\honest"),
    ),
    Kind(
        "a digest in capitals",
        "the name's digest in upper case",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, _name(by)[:20] + _name(by)[20:84].upper() + ".parquet"),
    ),
    Kind(
        "a short digest",
        "the name's digest without its last digit",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, _name(by).replace(".parquet", "")[:-1] + ".parquet"),
    ),
    Kind(
        "an epoch of seven digits",
        "an epoch that is too high for a name",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, f"1{_name(by)}"),
    ),
    Kind(
        "a sequence number of thirteen digits",
        "one that is too high for a name",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, _name(by).replace("-0", "-10", 1)),
    ),
    Kind(
        "digits of another script",
        "the name's numbers in Arabic digits",
        "is not <epoch>-<seq>-<sha256>.parquet. Names",
        lambda by: _called(by, _name(by)[:19].translate(ARABIC) + _name(by)[19:]),
    ),
    Kind(
        "another's digest",
        "the name of one batch, the content of another",
        "its content is not what its name says:",
        lambda by: by.at(by.name, _name(by), content=by.sealed(count=6)),
    ),
    Kind(
        "a bit turned",
        "a batch with one bit of a page changed on the way",
        "its content is not what its name says:",
        lambda by: by.at(by.name, _name(by), content=by.good[:100] + bytes([by.good[100] ^ 1]) + by.good[101:]),
    ),
    Kind(
        "a higher epoch in the name",
        "a batch that is named into the next epoch",
        "its epoch is",
        lambda by: by.named(by.good, epoch=EPOCH + 1),
    ),
    Kind(
        "another's number in the name",
        "a batch that is named for a sequence number before its first",
        "its sequence numbers do not rise from the one",
        lambda by: by.named(by.good, first=FIRST - 1),
    ),
    Kind("in another's inbox", "a batch that says it is of another device", "its device is", _of_another_device),
]

WAITING = [
    Kind(
        "a line break in its name",
        "a name that no listing can give; its sender waits until somebody removes it",
        "",
        lambda by: _called(by, "line\nbreak.parquet"),
    ),
]
