"""The installed package against its own program: every figure is the program's. `cargo xtask wheel --check` runs this file.

`SNUG_MYPY` is a Python that has mypy, whose test is skipped without it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest
import warnings
from pathlib import Path
from typing import Any

import snug
from snug import __main__ as program

PROGRAM = [sys.executable, "-m", "snug"]
# The ledger of this machine would correct both alike; a test must not depend on it.
os.environ["SNUG_LEDGER"] = "off"


def printed(command: str, flags: list[str]) -> Any:
    """What the program prints; 3 says that nothing fits."""
    done = subprocess.run([*PROGRAM, command, *flags, "--json"], capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout)


def refused(command: str, flags: list[str]) -> list[str]:
    """The message and the hint of the program."""
    done = subprocess.run([*PROGRAM, command, *flags], capture_output=True, text=True)
    assert done.returncode == 2, done.stdout
    return [line.split(": ", 1)[1] for line in done.stderr.splitlines()]


def requests(count: int) -> list[tuple[dict[str, Any], list[str]]]:
    """Arguments of `suggest`, and the flags that say the same."""
    choose = random.Random(0)
    all_requests = []
    for number in range(count):
        keywords: dict[str, Any] = {}
        if number % 3:
            keywords["vram"] = f"{choose.randrange(2, 49)}GiB"
        if number % 3 != 1:
            keywords["gpu"] = choose.choice(["RTX 3060", "RTX 4090", "A100 80GB", "GTX 1080"])
        if number % 2:
            keywords["goal"] = choose.choice(["balance", "memory", "speed"])
        if number % 5 == 1:
            keywords["target_batch"] = choose.randrange(1, 65)
        if number % 5 == 3:
            keywords["max_batch"] = True
        if number % 4 == 1:
            keywords["img_size"] = (choose.randrange(4, 33) * 16, choose.randrange(4, 33) * 16)
        if number % 4 == 2:
            keywords["width"] = choose.choice([8, 16, 32, 96])
        if number % 7 == 1:
            keywords["classes"] = choose.randrange(2, 20)
            keywords["in_channels"] = choose.choice([1, 4])
        flags = []
        for name, value in keywords.items():
            flags.append("--" + name.replace("_", "-"))
            if name == "img_size":
                flags.append("x".join(map(str, value)))
            elif value is not True:
                flags.append(str(value))
        all_requests.append((keywords, flags))
    return all_requests


def as_json(recipe: snug.Recipe | None) -> Any:
    """A recipe as the program prints it."""
    if recipe is None:
        return None
    value = json.loads(json.dumps(dataclasses.asdict(recipe)))
    if value["when"] is None:
        del value["when"]
    return value


class Suggest(unittest.TestCase):
    def test_every_figure_is_the_programs(self) -> None:
        for keywords, flags in requests(50):
            with self.subTest(flags=flags):
                expected = printed("suggest", flags)
                found = snug.suggest(**keywords)
                self.assertEqual(found.json, expected)
                self.assertEqual(as_json(found.recommendation), expected["recommendation"])
                self.assertEqual(as_json(found.guide.recipe), expected["guide"]["recipe"])
                self.assertEqual([as_json(it) for it in found.alternatives], expected["alternatives"])
                self.assertEqual(len(found.changes), len(expected["changes"]))
                self.assertEqual(list(found.warnings), expected["warnings"])

    def test_bytes_are_a_size(self) -> None:
        self.assertEqual(snug.suggest(vram=8 << 30), snug.suggest(vram="8GiB"))

    def test_refusals_are_the_programs(self) -> None:
        with self.assertRaises(snug.SnugError) as caught:
            snug.suggest(gpu="RTX 30")
        message, hint = refused("suggest", ["--gpu", "RTX 30"])
        message = message.replace("--gpu RTX 30", 'gpu="RTX 30"')
        self.assertEqual([caught.exception.args[0], caught.exception.hint], [message, hint])
        with self.assertRaises(ValueError) as wrong:
            snug.suggest(vram="8GiB", img_size=(100, 100))
        self.assertIn("hint: the nearest valid sizes are 96x96 and 112x112", str(wrong.exception))

    def test_refusals_name_the_argument(self) -> None:
        wrong: Any
        for wrong, text in [
            ({"width": float("nan")}, "`width` must be finite"),
            ({"vram": 8.5}, "`vram`: "),
            ({"vram": object()}, "`vram`: a value of the type `object` is not accepted"),
            ({"goal": {"fast"}}, "`goal`: "),
            ({"goal": "fast"}, "`goal`: unknown variant `fast`"),
            ({"target_batch": 0}, "`target_batch` must be"),
            ({"vram": "8GiB", "device": "cpu"}, '`device="cpu"` is for the CPU, but `vram` or `gpu` names a card'),
        ]:
            with self.subTest(wrong=wrong), self.assertRaises(snug.SnugError) as caught:
                snug.suggest(**wrong)
            self.assertIn(text, str(caught.exception))

    def test_numbers_of_other_libraries_are_numbers(self) -> None:
        class Number:
            def __init__(self, value: int) -> None:
                self.value = value

            def __index__(self) -> int:
                return self.value

        eight, width = Number(8 << 30), Number(32)
        asked: Any = {"vram": eight, "width": width, "img_size": (Number(64), Number(96))}
        self.assertEqual(snug.suggest(**asked), snug.suggest(vram=8 << 30, width=32, img_size=(64, 96)))

    def test_notes_are_warnings(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            snug.suggest(vram="8GB")
        self.assertIn("8000000000 bytes", str(caught[0].message))
        self.assertEqual(caught[0].filename, __file__)


class PredictMemory(unittest.TestCase):
    def test_every_figure_is_the_programs(self) -> None:
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({"preset": "speed", "vram": "8GiB"}, ["--preset", "speed", "--vram", "8GiB"]),
            ({"batch": 3, "gpu": "RTX 3060", "use_amp": False}, ["--batch", "3", "--gpu", "RTX 3060", "--amp", "off"]),
            ({"img_size": (64, 96), "threads": 2}, ["--img-size", "64x96", "--threads", "2"]),
        ]
        for keywords, flags in cases:
            with self.subTest(flags=flags):
                expected = printed("explain", flags)
                found = snug.predict_memory(**keywords)
                self.assertEqual(found.json, expected)
                self.assertEqual(dataclasses.asdict(found.predicted), expected["predicted"])
                self.assertEqual(dataclasses.asdict(found.breakdown), expected["breakdown"])
                self.assertEqual([dataclasses.asdict(it) for it in found.timeline], expected["timeline"])

    def test_keys_come_after_the_mapping(self) -> None:
        found = snug.predict_memory({"batch": 2, "lr": 0.1, "width": 16}, batch=4, vram="8GiB")
        self.assertEqual((found.config["batch"], found.config["width"]), (4, 16))
        self.assertEqual(snug.predict_memory({"batch": None, "width": 16}, vram="8GiB").config["batch"], 12)
        table: dict[str, snug.ConfigValue] = {"classes": {"names": ["ground", "cell", "border"]}, "width": 16}
        self.assertEqual(snug.predict_memory(table, vram="8GiB").config["classes"], 3)
        with self.assertRaisesRegex(snug.SnugError, "did you mean `batch`"):
            snug.predict_memory({"batch_size": 4})
        with self.assertRaisesRegex(snug.SnugError, "`lr` must be finite"):
            snug.predict_memory({"lr": float("inf")})

    def test_a_recipe_has_its_prediction(self) -> None:
        for vram in ("4GiB", "8GiB", "24GiB"):
            found = snug.suggest(vram=vram)
            for recipe in [found.guide.recipe, found.recommendation, *found.alternatives]:
                assert recipe is not None
                step = snug.predict_memory(preset=recipe.preset, vram=vram, **recipe.keys)
                for name in ("allocated_bytes", "reserved_bytes", "total_bytes"):
                    self.assertEqual(getattr(step.predicted, name), getattr(recipe.predicted, name), recipe.command)


class Plan(unittest.TestCase):
    def test_stages_follow_the_letters(self) -> None:
        plan = snug.plan(memory="6GiB", target_batch=16)
        recipe = plan.suggestion.recommendation
        assert recipe is not None
        self.assertEqual(recipe.grad_checkpoint_plan, tuple(it.keep for it in plan.stages))
        self.assertIn("checkpoint", [it.action for it in plan.stages])
        self.assertEqual((plan.batch * plan.accumulation, plan.amp_dtype), (16, "float16"))
        self.assertEqual((plan.stages[0].name, plan.stages[4].name), ("downs.0", "bottleneck"))

    def test_what_does_not_fit_is_refused(self) -> None:
        with self.assertRaisesRegex(snug.SnugError, "no recipe is predicted to fit"):
            snug.plan(memory="600MiB")


class Start(unittest.TestCase):
    def test_a_program_that_cannot_be_started_is_refused(self) -> None:
        script = f"from pathlib import Path; from snug import __main__ as it; it.PROGRAM = Path({os.devnull!r}); it.main()"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith(f"error: cannot start `{os.devnull}`: Permission denied\nhint: "), done.stderr)
        self.assertTrue(program.PROGRAM.is_file())


class Types(unittest.TestCase):
    def test_mypy_is_content(self) -> None:
        mypy = os.environ.get("SNUG_MYPY")
        if mypy is None:
            self.skipTest("`SNUG_MYPY` is not set")
        # The installed package, and uses of it: this file, and the examples of the documentation.
        readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
        uses = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
        _, example = (snug.plan.__doc__ or "").split("`[*downs, bottleneck, *up_convs]`:\n")
        example, _ = example.split("\n    `float16` needs")
        uses.append(textwrap.dedent(example))
        self.assertEqual(len(uses), 2)
        files = [*map(str, Path(snug.__file__).parent.glob("*.py*")), __file__]
        with tempfile.TemporaryDirectory() as folder:
            for number, text in enumerate(uses):
                files.append(f"{folder}/example{number}.py")
                Path(files[-1]).write_text(text, encoding="utf-8")
            command = [mypy, "-m", "mypy", "--strict", "--python-executable", sys.executable, "--cache-dir", folder]
            # The oldest Python that the wheel is for.
            command += ["--python-version", "3.10"]
            done = subprocess.run([*command, *files], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
