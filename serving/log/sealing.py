"""Sealing: a segment's lines become one Parquet file, and whoever dies meanwhile leaves one of the two.

The Parquet file is written aside, synced, renamed, and then the lines are removed. Where a crash left both, the
Parquet file counts, since a segment is sealed only when nobody appends to it any more.

A large segment is sealed by a process of its own (``python -m serving.log.sealing PATH KIND``), which inherits the
segment's lock: in the service's own it would hold up the answers for seconds.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
from pathlib import Path

from base.atomic_files import fsync_folder
from base.errors import EverfitError
from serving.log.growing import Segment
from serving.log.kinds import table_builder
from serving.log.segments import GROWING, SEALED, read_lines

_log = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[2]
# Below this, sealing takes less time than a process needs to start.
_LARGE_BYTES = 4 << 20
# Answers come first.
_NICENESS = 10
_MOST_SHOWN = 500


class SealingFailed(EverfitError):
    """The process that was to seal a segment has failed; the segment stays as lines."""

    def __init__(self, path: Path, code: int, complaint: str) -> None:
        last = complaint.strip().rpartition("\n")[2][:_MOST_SHOWN]
        super().__init__(
            f"segment {str(path)!r} was not sealed, its process ended with {code}: {last or 'it said nothing'}; "
            "it is tried again, and read as it is until then"
        )
        self.path = path


def seal_segment(path: Path, kind: str) -> None:
    """Turn a segment's lines into Parquet; the caller holds its lock.

    Raises
    ------
    SegmentDamaged
    """
    import pyarrow.parquet as pq

    target = path.with_suffix(SEALED)
    if not target.exists():
        lines = read_lines(path)
        if lines is not None:
            table = table_builder(kind)(lines.header, lines.batches)
            # The name is the segment's own: what a crash leaves here, the next one to seal it overwrites.
            aside = path.with_suffix(".sealing")
            try:
                with aside.open("wb") as stream:
                    pq.write_table(table, stream, compression="zstd", row_group_size=10_000)
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError:
                # The disk is full, and what was begun would take the room that new rows need.
                aside.unlink(missing_ok=True)
                raise
            aside.replace(target)
            fsync_folder(path.parent)
    path.unlink()


def seal_locked(path: Path, kind: str, descriptor: int) -> None:
    """Seal a segment whose lock an open file of this process holds; a large one in a process of its own.

    Raises
    ------
    SegmentDamaged, SealingFailed
    """
    if os.fstat(descriptor).st_size < _LARGE_BYTES:
        seal_segment(path, kind)
        return
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    finished = subprocess.run(
        # -P: a file in the working directory must not hide a package.
        [sys.executable, "-P", "-m", "serving.log.sealing", str(path), kind],
        # The lock outlives this process with the child: nobody else seals meanwhile.
        pass_fds=(descriptor,),
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SealingFailed(path, finished.returncode, finished.stderr)


def seal_and_close(segment: Segment, kind: str) -> None:
    """Seal a segment of this process that gets no more rows, and give its lock back."""
    try:
        seal_locked(segment.path, kind, segment.descriptor)
    except OSError as error:
        reason = error.strerror or error
        _log.warning("segment %s could not be sealed (%s); it stays as lines until the next try", segment.path, reason)
    except Exception:
        _log.exception("segment %s could not be sealed; it stays as lines until the next try", segment.path)
    finally:
        segment.close()


def adopt_segments(folder: Path, kind: str) -> int:
    """Seal the segments in *folder* that nobody appends to any more, and return how many there were."""
    count = 0
    for path in sorted(folder.glob(f"*{GROWING}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held the lock until now may have sealed the segment and removed its lines.
            if os.fstat(descriptor).st_nlink:
                seal_locked(path, kind, descriptor)
                count += 1
        except BlockingIOError:
            continue
        except Exception as error:
            # One bad file must not keep the service from starting, nor the other files from being sealed.
            _log.warning("segment %s stays as it is: %s: %s", path, type(error).__name__, error)
        finally:
            os.close(descriptor)
    return count


if __name__ == "__main__":
    os.nice(_NICENESS)
    seal_segment(Path(sys.argv[1]), sys.argv[2])
