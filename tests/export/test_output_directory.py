"""An export appears whole or not at all, and what was there before survives a failure."""

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkpoints import Shape, write_checkpoint
from refusals import refused
from zero_checkpoint import write_zero_checkpoint

from gptneo_onnx.export import export_model, output_directory, replace_directory
from gptneo_onnx.export.output_directory import atomic_directory
from gptneo_onnx.models import ExportError, InputError, ModelFileError
from gptneo_onnx.models.manifest import MANIFEST_FILE
from gptneo_onnx.runtime.cli.main import main

GPT2 = Path(__file__).parent.parent / "gpt2_tokenizer"
SMALL = Shape(vocab_size=61, hidden_size=16, num_heads=2, max_position_embeddings=16)
# Its weights take long enough to write that a signal meets them half-written.
LARGE = Shape(vocab_size=1_000_000, hidden_size=768, num_heads=12)
MEGABYTE = 2**20


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_checkpoint(tmp_path / "checkpoint", SMALL, random)


@pytest.fixture
def parent(tmp_path):
    folder = tmp_path / "parent"
    folder.mkdir()
    return folder


@pytest.fixture
def out(parent):
    return parent / "out"


@pytest.fixture
def earlier(checkpoint, out):
    """The contents of an earlier export at `out`."""
    export_model(checkpoint, out)
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def command(checkpoint, out):
    return [
        sys.executable,
        "-m",
        "gptneo_onnx.runtime.cli.main",
        "export",
        str(checkpoint),
        str(out),
        "--force",
    ]


class TestWhatOutHolds:
    def test_nothing_and_parents_are_missing_too(self, checkpoint, parent):
        export_model(checkpoint, parent / "a" / "b" / "out")
        assert MANIFEST_FILE in names(parent / "a" / "b" / "out")
        assert names(parent / "a" / "b") == ["out"]

    def test_an_empty_directory_is_filled(self, checkpoint, out):
        out.mkdir()
        export_model(checkpoint, out)
        assert MANIFEST_FILE in names(out)
        assert names(out.parent) == ["out"]

    def test_an_earlier_export_is_replaced(self, earlier, checkpoint, out):
        export_model(checkpoint, out, precision="fp16")
        assert contents(out)["model.onnx_data"] != earlier["model.onnx_data"]
        assert names(out) == sorted(earlier)
        assert names(out.parent) == ["out"]

    def test_exporting_twice_gives_the_same_files(self, earlier, checkpoint, out):
        export_model(checkpoint, out)
        assert contents(out) == earlier

    @pytest.mark.parametrize("version", [0, 2, None])
    def test_an_export_of_another_version_is_replaced(self, earlier, checkpoint, out, version):
        manifest = json.loads((out / MANIFEST_FILE).read_text())
        (out / MANIFEST_FILE).write_text(json.dumps(manifest | {"format_version": version}))
        export_model(checkpoint, out)
        assert contents(out) == earlier

    def test_a_file_is_kept(self, checkpoint, out):
        out.write_text("mine")
        with refused(InputError, "out exists and is not a directory; name another"):
            export_model(checkpoint, out)
        assert out.read_text() == "mine"

    def test_a_directory_of_other_things_is_kept(self, checkpoint, out):
        out.mkdir()
        (out / "thesis.tex").write_text("mine")
        with refused(InputError, "out is not empty and not an exported model; name another"):
            export_model(checkpoint, out)
        assert names(out) == ["thesis.tex"]

    def test_the_checkpoint_itself_is_kept(self, checkpoint):
        before = contents(checkpoint)
        with refused(InputError, "is not empty and not an exported model"):
            export_model(checkpoint, checkpoint)
        assert contents(checkpoint) == before

    @pytest.mark.parametrize("stranger", ["thesis.tex", ".hidden", "\x1b[2J"])
    def test_files_beside_an_earlier_export_are_kept(self, earlier, checkpoint, out, stranger):
        (out / stranger).write_text("mine")
        with refused(InputError, "which is no part of the exported model there and would be lost"):
            export_model(checkpoint, out)
        assert contents(out) == earlier | {stranger: b"mine"}

    def test_a_checkpoint_within_an_earlier_export_is_kept(self, earlier, checkpoint, out):
        within = out / "checkpoint"
        shutil.copytree(checkpoint, within)
        with refused(InputError, "holds 'checkpoint', which is no part of the exported model"):
            export_model(within, out)
        assert names(within) == names(checkpoint)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": 7}'])
    def test_an_export_of_a_damaged_manifest_is_kept(self, earlier, checkpoint, out, content):
        (out / MANIFEST_FILE).write_bytes(content)
        with refused(InputError, "is no part of the exported model there and would be lost"):
            export_model(checkpoint, out)
        assert names(out) == sorted(earlier)

    @pytest.mark.parametrize("target", ["checkpoint", "nowhere", "out"])
    def test_a_symlink_is_kept(self, checkpoint, tmp_path, out, target):
        out.symlink_to(tmp_path / target)
        with refused(InputError, "out exists and is not a directory; name another"):
            export_model(checkpoint, out)
        assert out.is_symlink()

    def test_it_is_checked_before_the_checkpoint(self, out, tmp_path):
        out.write_text("mine")
        with refused(InputError, "exists and is not a directory"):
            export_model(tmp_path / "no-such-checkpoint", out)


class TestFailures:
    @pytest.fixture(params=[KeyboardInterrupt, SystemExit, ModelFileError, MemoryError])
    def failure(self, request):
        return request.param

    def test_leave_nothing(self, out, failure):
        def write_half():
            with atomic_directory(out) as partial:
                (partial / "model.onnx").write_text("half")
                raise failure

        with pytest.raises(failure):
            write_half()
        assert names(out.parent) == []

    def test_leave_an_earlier_export_as_it_was(self, earlier, out, failure):
        def write_half():
            with atomic_directory(out) as partial:
                (partial / "model.onnx").write_text("half")
                raise failure

        with pytest.raises(failure):
            write_half()
        assert contents(out) == earlier
        assert names(out.parent) == ["out"]

    @pytest.mark.parametrize("renames", [0, 1])
    def test_while_renaming_bring_an_earlier_export_back(
        self, earlier, checkpoint, out, failure, renames, monkeypatch
    ):
        rename = Path.rename
        done = []

        def interrupted(path, target):
            if len(done) == renames:
                done.append(None)
                raise failure
            done.append(rename(path, target))

        monkeypatch.setattr(replace_directory, "_swapped", lambda *paths: False)
        monkeypatch.setattr(Path, "rename", interrupted)
        with pytest.raises(failure):
            export_model(checkpoint, out)
        assert contents(out) == earlier
        assert names(out.parent) == ["out"]

    @pytest.mark.parametrize(
        ("number", "match"),
        [
            (errno.ENOSPC, "out cannot be written: the disk is full; free some space or name"),
            (errno.EDQUOT, "out cannot be written: the disk is full; free some space or name"),
            (errno.EIO, "out cannot be written: Input/output error; name another directory"),
            (errno.EROFS, "out cannot be written: Read-only file system; name another directory"),
        ],
    )
    def test_of_the_disk_are_one_line(self, checkpoint, out, monkeypatch, number, match):
        def fail(descriptor):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(output_directory.os, "fsync", fail)
        with refused(ExportError, match):
            export_model(checkpoint, out)
        assert names(out.parent) == []


class TestParents:
    def test_one_that_may_not_be_written(self, checkpoint, parent):
        parent.chmod(0o555)
        if os.geteuid() == 0:  # root may write anywhere
            os.seteuid(65534)
        try:
            with refused(ExportError, "cannot be written: Permission denied; name another"):
                write_nothing(parent / "out")
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
            parent.chmod(0o755)
        assert names(parent) == []

    def test_one_that_is_a_file(self, checkpoint, parent):
        (parent / "file").write_text("")
        with refused(ExportError, "cannot be written: (Not a directory|File exists); name another"):
            export_model(checkpoint, parent / "file" / "out")
        assert names(parent) == ["file"]

    @pytest.mark.parametrize("length", [245, 256, 5000])
    def test_names_that_are_too_long(self, checkpoint, parent, length):
        with pytest.raises(ExportError, match="cannot be written: File name too long; name anoth"):
            export_model(checkpoint, parent / ("x" * length))
        assert names(parent) == []


def write_nothing(out):
    """Do what export_model does with `out`, for a user who may not even read the checkpoint."""
    with atomic_directory(out):
        pass


def wait_for_weights(process, parent):
    """Wait until some of the weights are written, and not all."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for path in parent.glob(".out.partial-*/new/model.onnx_data"):
            if path.stat().st_size > MEGABYTE:
                return
        time.sleep(0.002)
    pytest.fail(f"no weights were written: {process.communicate()}")


@pytest.mark.parametrize(
    ("number", "status", "last_line"),
    [
        (signal.SIGTERM, -signal.SIGTERM, ""),
        (signal.SIGHUP, -signal.SIGHUP, ""),
        (signal.SIGINT, -signal.SIGINT, "gptneo-onnx: interrupted\n"),
    ],
)
class TestSignals:
    @pytest.fixture
    def end(self, tmp_path, out, number):
        """Signal an export to `out` while it writes; return its status and its later output."""
        large = write_zero_checkpoint(tmp_path / "large", LARGE)

        def end():
            process = subprocess.Popen(
                command(large, out),
                stderr=subprocess.PIPE,
                text=True,
                # Shells make background jobs ignore SIGINT, and pytest may be one.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
            with process:
                wait_for_weights(process, out.parent)
                process.send_signal(number)
                _, errors = process.communicate(timeout=60)
            no_tokenizer, *lines = errors.splitlines(keepends=True)
            assert "the model takes token ids only; --tokenizer" in no_tokenizer
            return process.returncode, "".join(lines)

        return end

    def test_in_the_middle_of_the_weights_leave_nothing(self, end, out, status, last_line):
        assert end() == (status, last_line)
        assert names(out.parent) == []

    def test_leave_an_earlier_export_as_it_was(self, end, earlier, out, status, last_line):
        assert end() == (status, last_line)
        assert contents(out) == earlier
        assert names(out.parent) == ["out"]


class TestLeftovers:
    @pytest.fixture
    def leftover(self, tmp_path, out):
        """What a killed export to `out` left."""
        large = write_zero_checkpoint(tmp_path / "large", LARGE)
        with subprocess.Popen(command(large, out), stderr=subprocess.PIPE, text=True) as process:
            wait_for_weights(process, out.parent)
            process.kill()
        [area] = out.parent.glob(".out.partial-*")
        return area

    def test_are_removed_by_the_next_export(self, leftover, checkpoint, out):
        lines = []
        export_model(checkpoint, out, report=lines.append)
        assert re.fullmatch(
            rf"removed {leftover} \([\d.]+ [GM]B\), which a killed process left", lines[0]
        )
        assert names(out.parent) == ["out"]

    def test_are_removed_by_an_export_beside_it(self, leftover, checkpoint, out):
        export_model(checkpoint, out.parent / "another")
        assert names(out.parent) == ["another"]

    def test_are_told_in_one_line(self, leftover, checkpoint, out, capsys):
        assert main(["export", str(checkpoint), str(out)]) == 0
        said = capsys.readouterr().err
        assert said.count(f"removed {leftover} (") == 1

    def test_are_removed_although_the_export_is_up_to_date(self, leftover, checkpoint, out, capsys):
        leftover.rename(out.parent / "aside")
        export_model(checkpoint, out)
        (out.parent / "aside").rename(leftover)
        assert main(["export", str(checkpoint), str(out)]) == 0
        assert "(up to date)" in capsys.readouterr().out
        assert names(out.parent) == ["out"]

    def test_stay_where_nothing_is_written(self, leftover, checkpoint, out):
        assert main(["export", str(checkpoint), str(out), "--dry-run"]) == 0
        assert names(out.parent) == [leftover.name]

    def test_an_earlier_export_comes_back(self, earlier, checkpoint, out, capsys):
        area = out.parent / ".out.partial-0123abcd"
        area.mkdir()
        (area / "owner.json").write_text('{"program": "gptneo-onnx"}')
        out.rename(area / "old")
        assert main(["export", str(checkpoint), str(out)]) == 0
        shown = capsys.readouterr()
        assert f"and put back {out}, which it was about to replace" in shown.err
        assert "(up to date)" in shown.out
        assert contents(out) == earlier
        assert names(out.parent) == ["out"]


def test_of_two_exports_to_one_directory_the_second_is_refused(checkpoint, out):
    with atomic_directory(out), refused(ExportError, "out is being written by another process"):
        export_model(checkpoint, out)
    assert names(out.parent) == ["out"]


class TestFullDisks:
    @pytest.fixture
    def disk(self, tmp_path):
        """Mount a file system of that many bytes."""
        mounted = []

        def mount(size):
            folder = tmp_path / "disk"
            folder.mkdir()
            options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
            if not shutil.which("mount") or subprocess.run(options, capture_output=True).returncode:
                pytest.skip("may not mount a file system")
            mounted.append(folder)
            return folder

        yield mount
        for folder in mounted:
            subprocess.run(["umount", str(folder)], check=True)

    @pytest.fixture
    def with_tokenizer(self, checkpoint):
        for name in ("vocab.json", "merges.txt"):
            shutil.copyfile(GPT2 / name, checkpoint / name)
        return checkpoint

    # The graph has 14 kB, the weights 100 kB, the tokenizer 3.5 MB.
    @pytest.mark.parametrize("size", [8192, 65536, MEGABYTE])
    def test_while_any_file_is_written(self, with_tokenizer, disk, size):
        folder = disk(size)
        with refused(ExportError, "out cannot be written: the disk is full; free some space"):
            export_model(with_tokenizer, folder / "out")
        assert names(folder) == []

    def test_leave_an_earlier_export_as_it_was(self, checkpoint, with_tokenizer, disk, tmp_path):
        folder = disk(6 * MEGABYTE)
        export_model(with_tokenizer, folder / "out")
        before = contents(folder / "out")
        with refused(ExportError, "out cannot be written: the disk is full"):
            export_model(with_tokenizer, folder / "out")
        assert contents(folder / "out") == before
        assert names(folder) == ["out"]

    def test_at_the_command_line_are_one_line(self, with_tokenizer, disk):
        folder = disk(MEGABYTE)
        self.check_command(with_tokenizer, folder, "the disk is full; free some space")

    def test_where_files_may_not_grow(self, with_tokenizer, parent):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))

        self.check_command(with_tokenizer, parent, "File too large; name another", limit)

    def check_command(self, checkpoint, folder, match, limit=None):
        done = subprocess.run(
            command(checkpoint, folder / "out"),
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=limit,
        )
        assert done.returncode == 2
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"gptneo-onnx: error: {folder}/out cannot be written: {match}")
        assert names(folder) == []
