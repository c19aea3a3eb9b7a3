"""Wrong files and options, given to `sigmaquant` as a user would: one clear line, exit status 2."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hw.cli.console import command

torch.set_num_threads(1)

SEARCH = ("search", "--data", "data.npz")
LAYERS = [
    "stem",
    *(f"block{i}.conv{j}" for i in (1, 2, 3) for j in (1, 2)),
    *(f"block{i}.shortcut.0" for i in (2, 3)),
    "fc",
]
CASES = [
    # configuration files
    ("search --config broken.yaml", "broken.yaml, line 2: config must be YAML"),
    ("search --config typo.yaml", "not max_szie; the nearest is max-size"),
    ("search --config none.yaml", "none.yaml: config must be readable"),
    ("search --config other.yaml", "other.yaml: command must be search, not export"),
    # cost tables
    ("search --cost-table object.json", "object.json: name: must be given"),
    ("search --cost-table none.json", "none.json: cannot read the cost table"),
    ("search --cost-table nan.json", "nan.json: "),
    # networks, weights, maps
    ("SEARCH --weights junk", "junk: weights must be a safetensors file"),
    ("search --weights none", "none: weights must be a file, and there is none of this name"),
    ("SEARCH --model junk.onnx", "junk.onnx: model must be an ONNX file"),
    ("SEARCH --model no_such_module:f", "must be importable and callable"),
    ("search --model resnet81", "model must be one of resnet8, dscnn"),
    ("search --map object.json", "object.json: bits of a must be one of 2, 4, 6, 8, not 1"),
    ("search --map three.json", "bits of stem must be one of 2, 4, 6, 8, not 3"),
    # images
    ("search --data empty", "empty/train-images-idx3-ubyte: must be there"),
    ("search --data part.npz", "must have x_train, y_train, x_test, y_test, not leave out"),
    ("search --data nan.npz", "images must be finite"),
    # budgets and other options
    ("search --max-size abc", "max_size must be a share of 8 bit such as 0.4"),
    ("search --max-size -1", "max_size must be above 0"),
    ("search --max-energy 3kg", "or have a unit of pJ, nJ, uJ, mJ, not 3kg"),
    ("search --max-drop nan", "max_drop must be from 0"),
    ("search --modes 3,4", "modes must be some of 2,4,6,8"),
    ("search --act-bits 16", "act_bits must be some of"),
    ("search --buffer bold", "buffer must be one of conservative, balanced, aggressive, not bold"),
    ("search --method milp --buffer balanced", "buffer must come with --method sigmaquant"),
    ("search --method auto --aim high", "aim must be one of cost, accuracy, not high"),
    ("search --aim accuracy", "aim must come with --method auto, or be left out"),
    ("search --seed -5", "seed must be from 0 to 4294967295, not -5"),
    ("search --seed 99999999999999999999999", "seed must be from 0 to 4294967295"),
    ("search --points 12", "points must come with pareto, not 12 alone"),
    ("search --out junk/run", "out must be a folder, but junk is a file; name another"),
    ("search --out front", "but front has the results of another (front)"),
    ("search --out ptq", "but ptq has the results of another (ptq)"),
    ("search --pareto size --out runs/resnet8-seed0", "has the results of another (search)"),
    ("ptq --out runs/resnet8-seed0", "has the results of another (search)"),
    ("SEARCH --map map.json", "map must have every layer, not leave out or add block1.conv1"),
    ("ptq --data data.npz --map map.json", "map.json: map must have every layer"),
    ("search --resume empty", "must be there to resume a run"),
    ("ptq --bits 9", "bits must be one of 2, 3, 4, 6, 8, not 9"),
    ("ptq --calibration 1", "calibration must be at least 2 images"),
    ("synth --hardware none", "config must be one of tiny, edge, large"),
    ("synth --liberty object.json --node-nm 45", "object.json: must be a Liberty file"),
    ("synth --clock-ns 0", "clock_ns must be positive"),
    # benchmarks
    ("bench search --only none", "only must fit names of cells such as"),
    ("bench search --order none", "order must be some of way, seed, training, bits, model"),
    ("bench search --minutes nan", "--minutes must be greater than or equal to 0, not nan;"),
    ("bench search --cost-table none.json", "none.json: cannot read the cost table"),
    ("bench search --qat-steps 1", "--qat-steps must be greater than or equal to 2, not 1;"),
    ("bench search --data empty", "empty/train-images-idx3-ubyte: must be there"),
    ("bench ptq --most-minutes -1", "--most-minutes must be greater than or equal to 0, not -1;"),
    ("bench ptq --only none", "--only must be part of one of"),
    ("bench qat --roundings nearest,up", "roundings must be some of nearest,sensitivity with"),
    ("bench qat --rates 0.1,nan", "rates must be finite numbers above 0 with commas between"),
    ("bench qat --rates fast", "such as 0.001,0.003,0.01, not fast"),
    ("bench qat --seeds 0", "--seeds must be greater than or equal to 1, not 0;"),
    ("bench qat --bits 5", "weight bits must be one of 2, 4, 6, 8, not 5"),
    # folders of other commands
    ("report empty", "empty: run must be the folder of a finished search"),
    ("export empty --out x", "empty/result.json: run must be the folder of a finished"),
    ("cosim empty", "empty/network.json: must be a file"),
    # use of the command
    ("export empty", "sigmaquant export: missing option '--out'"),
    ("export empty --out x --format foo", "'--format': 'foo' is not one of 'integer', 'onnx'"),
    ("search --max-szie 0.3", "no such option: --max-szie (Possible options: --max-"),
    ("search --points many", "--points must be a valid integer, not many;"),
    ("search --workers -1", "--workers must be greater than or equal to 0, not -1;"),
    ("--bogus", "sigmaquant: no such option: --bogus"),
    ("bench --bogus", "sigmaquant bench: no such option: --bogus"),
    ("search --points", "search: option '--points' requires an argument"),
    ("SEARCH --out runs/resnet8-seed0 --cluster tcp://127.0.0.1:9", "cluster must be the address"),
    ("SEARCH --out runs/resnet8-seed0 --map acts.json", "map: "),
    ("searhc", "sigmaquant: no such command 'searhc'"),
    ("bench none", "sigmaquant bench: no such command 'none'"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("inputs")
    texts = {
        "broken.yaml": "not: [valid\n",
        "typo.yaml": "max_szie: 0.3\n",
        "other.yaml": "command: export\n",
        "object.json": '{"a": 1}',
        "nan.json": '{"name": NaN}',
        "three.json": json.dumps({"stem": 3}),
        "acts.json": json.dumps({"allocation": dict.fromkeys(LAYERS, 4), "activations": {"no": 4}}),
        "map.json": json.dumps({"stem": 4}),
        "junk": "xx",
        "junk.onnx": "xx",
        "runs/resnet8-seed0/result.json": "{}",
        "runs/resnet8-seed0/config.yaml": "command: search\nmodel: resnet8\n",
        "front/front.json": "{}",
        "ptq/result.json": "{}",
        "ptq/config.yaml": "command: ptq\nmodel: resnet8\n",
    }
    for name, text in texts.items():
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_text(text)
    (found / "empty").mkdir()
    images, labels = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 10
    good = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(found / "data.npz", **good)  # type: ignore[arg-type]
    np.savez(found / "part.npz", x_train=images)
    nan = np.full((20, 8, 8), np.nan, np.float32)
    np.savez(found / "nan.npz", **{**good, "x_train": nan, "x_test": nan})  # type: ignore[arg-type]
    return found


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# the Liberty parser leaves a file that it cannot read to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("line", "text"), CASES, ids=[line for line, _ in CASES])
def test_what_is_wrong_is_said_in_one_line(
    line: str,
    text: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    before = contents(folder)
    words = line.split()
    given = [*SEARCH, *words[1:]] if words[0] == "SEARCH" else words
    with pytest.raises(SystemExit) as ended:
        command()(given, prog_name="sigmaquant")
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert text in told.err
    assert told.err.count("\n") == 1, told.err
    assert len(told.err) < 400
    assert told.out == ""
    assert contents(folder) == before, "a finished run is as it was, and nothing is left behind"
