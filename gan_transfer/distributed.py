"""Several processes as one run: which rows are whose, means over all ranks, and waiting for rank 0. Alone, all of this
does nothing.

torchrun starts the processes and tells each in its environment which one it is. Gradients go through NCCL between GPUs
and through Gloo between CPUs; words between the processes always go through Gloo, in a group of its own that waits as
long as rank 0 needs for packing or a look.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from .errors import PeerLost, RunError

PATIENCE = datetime.timedelta(days=30)
"""How long a process waits for rank 0. One that dies closes its connections, which is noticed at once."""

EVERY = 8
"""Steps between two polls, so that even quick steps need not wait for one that is under way."""

GRACE = 1.0
"""Seconds that another rank leaves to rank 0 to tell of an error that all of them met."""


class Share(NamedTuple):
    """Some rows of a batch: every `step`-th from the one numbered `first`.

    Whoever draws numbers for its rows draws those of the whole batch, so that picture n meets the same numbers however
    many processes there are, and in however many parts each takes its rows.
    """

    first: int = 0
    step: int = 1

    def rows(self, whole: Tensor) -> Tensor:
        """These rows of a tensor [N, ...]."""
        return whole[self.first :: self.step]


WHOLE = Share()


@dataclasses.dataclass(frozen=True)
class _Group:
    """The processes that were joined: where they leave word of a failure, and the group that may take its time."""

    store: Any  # a `torch.distributed.Store`
    words: Any  # a `ProcessGroup`


_joined: list[_Group] = []  # at most one


def rank() -> int:
    """The number of this process; 0 writes."""
    return dist.get_rank() if _joined else 0


def world_size() -> int:
    """The number of processes of this run."""
    return dist.get_world_size() if _joined else 1


def local_rank() -> int:
    """The number of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if _joined else 0


def share() -> Share:
    """The rows of a batch that are this rank's."""
    return Share(rank(), world_size())


def restarted() -> bool:
    """Whether torchrun has started these processes again after one of them had died."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Be one of the processes that torchrun has started, inside the block.

    Raises:
        RunError: they do not find each other.
        PeerLost: one has gone before this one was done.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        kept, number, world = next(rendezvous("env://"))
        # torchrun keeps its store when it starts processes again; addresses of those before them lead nowhere.
        store = dist.PrefixStore(  # type: ignore[attr-defined]
            f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", kept
        )
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", store=store, rank=number, world_size=world)
        _joined.append(_Group(store, dist.new_group(backend="gloo", timeout=PATIENCE)))
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        advice = "start all of them with the same torchrun command and --rdzv-endpoint"
        raise RunError(f"cannot join the other processes at {place} ({_first_line(error)}); {advice}") from error
    if gpus and local_rank() < torch.cuda.device_count():
        torch.cuda.set_device(local_rank())
    yield
    wait()
    dist.destroy_process_group()
    _joined.clear()


def average(tensors: Sequence[Tensor]) -> None:
    """Replace each float32 tensor by its mean over all ranks, all of them in one exchange."""
    if not _joined or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with _peers():
        dist.all_reduce(flat)
    flat /= world_size()
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)])


def gather(tensor: Tensor) -> Tensor:
    """Every rank's tensor [...]: [world, ...]."""
    if not _joined:
        return tensor[None]
    found = [torch.empty_like(tensor) for _ in range(world_size())]
    with _peers():
        dist.all_gather(found, tensor)
    return torch.stack(found)


def wait() -> None:
    """Wait until all ranks are here, however long that takes."""
    if _joined:
        with _peers():
            dist.barrier(group=_joined[0].words)


def from_rank_0(value: Any) -> Any:
    """Rank 0's value, as JSON knows it; the others' are not looked at, and they wait for it however long it takes."""
    if not _joined:
        return value
    text = json.dumps(value).encode() if rank() == 0 else b""
    length = torch.tensor([len(text)])
    _broadcast(length)
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else torch.empty(int(length), dtype=torch.uint8)
    _broadcast(data)
    return json.loads(data.numpy().tobytes())


def tensors_from_rank_0(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rank 0's tensors by their names, on the CPU; of the others an empty dictionary is wanted."""
    if not _joined:
        return tensors
    shapes = {name: (list(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in tensors.items()}
    received = {}
    for name, (shape, dtype) in from_rank_0(shapes).items():
        own = tensors[name].detach().cpu().contiguous() if tensors else torch.empty(shape, dtype=getattr(torch, dtype))
        _broadcast(own)
        received[name] = own
    return received


@contextlib.contextmanager
def one_first() -> Iterator[None]:
    """Let one process of each machine through the block before the others, which then find in its cache what they
    need."""
    if local_rank() != 0:
        wait()
    yield
    if local_rank() == 0:
        wait()


class Poll:
    """Asks all ranks for a number now and then, without waiting for answers; all learn of the largest at the same
    call.

    Args:
        ask: this rank's number, at least 0.
    """

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask, self._calls = ask, 0
        self._ballot = torch.zeros(1, dtype=torch.int64)
        self._work: dist.Work | None = None

    def __call__(self) -> int:
        """The largest number of the last poll; alone, the own one of now. To be called equally often by all ranks."""
        if not _joined:
            return self._ask()
        self._calls += 1
        if self._calls % EVERY:
            return 0
        with _peers():
            if self._work is not None:
                self._work.wait()
            found = int(self._ballot)
            self._ballot = torch.tensor([self._ask()])
            group = _joined[0].words
            self._work = dist.all_reduce(self._ballot, dist.ReduceOp.MAX, group=group, async_op=True)
        return found


def speaks() -> bool:
    """Whether this process is to tell the user why it ends: the first to fail, and rank 0 where all fail alike."""
    if not _joined:
        return os.environ.get("RANK", "0") == "0"
    if rank() != 0:
        time.sleep(GRACE)
    with contextlib.suppress(RuntimeError):  # the process that kept the store may have gone
        return bool(_joined[0].store.compare_set("told by", "", str(rank())).decode() == str(rank()))
    return rank() == 0


def _broadcast(tensor: Tensor) -> None:
    with _peers():
        dist.broadcast(tensor, 0, group=_joined[0].words)


@contextlib.contextmanager
def _peers() -> Iterator[None]:
    """What is raised when another process has gone becomes `PeerLost`."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(
            "another process of this run has gone. The same command resumes from the last checkpoint, and "
            "torchrun --max-restarts 3 does so by itself"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
