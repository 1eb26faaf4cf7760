"""`gan-transfer bench`, `bench data` and `bench scale`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .for_scripts import AsJson, print_json

if TYPE_CHECKING:
    from ..bench import Comparison

app = typer.Typer(help="Time this machine.")


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Images in a step.")] = 64,
    rounds: Annotated[int, typer.Option("--rounds", min=3, help="Alternations between the two loops.")] = 9,
    norm_d: Annotated[str, typer.Option("--norm-d", help="Discriminator: batch, spectral or none.")] = "batch",
    resolution: Annotated[int, typer.Option("--resolution", help="Pixels.")] = 64,
    base_channels: Annotated[int, typer.Option("--base-channels", help="Width of both networks.")] = 64,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile our networks with torch.compile.")] = False,
    loops: Annotated[bool, typer.Option("--loops/--no-loops", help="Time whole loops too, with their data.")] = True,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes of the textbook's DataLoader; 0: one for each core.")
    ] = 0,
    profiled: Annotated[int, typer.Option("--profile", min=0, help="Tell so many operations of our step.")] = 0,
    device: options.Device = None,
    precision: options.Precision = None,
    as_json: AsJson = False,
) -> None:
    """Time training against the textbook DCGAN, alternately, on this machine, and against what it could do at best."""
    if context.invoked_subcommand:
        return
    import dataclasses

    from .. import config, roofline
    from ..bench import compare, compare_loops, machine
    from ..bench_profile import where_time_goes
    from ..devices import cores
    from ..recipe import Model, Train
    from ..training import hardware

    shape = {"norm_d": norm_d, "resolution": resolution, "base_channels": base_channels}
    model = config.from_dict(Model, shape, "--norm-d, --resolution, --base-channels")
    settings = config.from_dict(Train, {"precision": precision or "auto"}, "--precision")
    chosen = hardware.choose(device or "auto", settings.precision)
    about, bound = machine(chosen), roofline.measure(chosen, model)
    found = compare(chosen, model, batch, rounds, compiled=compiled)
    whole = compare_loops(chosen, model, batch, rounds, workers or cores(), compiled) if loops else None
    share = found.ours / bound.img_per_sec
    spent = where_time_goes(chosen, model, batch, compiled)[:profiled] if profiled else []
    if as_json:
        asked = shape | {"batch": batch, "rounds": rounds, "compiled": compiled}
        bounds = dataclasses.asdict(bound) | {"img_per_sec": bound.img_per_sec, "reached": share}
        told = {"loops": dataclasses.asdict(whole) if whole else None, "roofline": bounds, "profile": spent}
        print_json(about | dataclasses.asdict(found) | told | asked)
        return
    for key, value in about.items():
        print(f"{key:<12} {value}")
    print(f"{'networks':<12} {resolution}x{resolution} pixels, base_channels {base_channels}")
    print(f"{'batch':<12} {batch}, {rounds} alternating rounds")
    print(f"{'textbook':<12} {found.textbook:,.0f} img/s: its step, float32, on pictures that lie ready")
    print(f"{'ours':<12} {found.ours:,.0f} img/s: our step{' (compiled)' if compiled else ''}")
    print(f"{'ratio':<12} {_ratio(found)}")
    if whole:
        textbook, ours = whole.loop.textbook, whole.loop.ours
        print(f"{'its loop':<12} {textbook:,.0f} img/s: files through a DataLoader of {whole.workers} workers")
        print(f"{'our loop':<12} {ours:,.0f} img/s: pack, augmentation, moving average, statistics")
        print(f"{'ratio':<12} {_ratio(whole.loop)}, of its bare step {_ratio(whole.step)}")
    print(f"{'at best':<12} {bound.img_per_sec:,.0f} img/s, of which our step reaches {share:.0%}")
    speed, width = bound.flop_per_sec / 1e9, bound.bytes_per_sec / 1e9
    print(f"{'':<12} {bound.by_products:,.0f} by {bound.flop / 1e9:.2f} GFLOP an image at {speed:,.0f} GFLOP/s")
    print(f"{'':<12} {bound.by_memory:,.0f} by {bound.bytes / 1e6:.1f} MB an image at {width:,.0f} GB/s")
    for row in spent:
        print(f"{row.share:>11.1%}  {row.name} ({row.calls:,.0f} in a step)")


def _ratio(found: Comparison) -> str:
    return f"{found.ratio:.2f} (rounds from {found.low:.2f} to {found.high:.2f})"


@app.command()
def data(
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Folder or .zip file of photographs; default: drawn covers.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=64, help="Files to pack, the pictures repeated.")] = 3000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Most decoding threads.")] = 2,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Alternations of the packing.")] = 3,
    folder: Annotated[Path, typer.Option("--folder", help="Where a sparse file of 15.7 GB may lie.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Time the data path: packing against torchvision's ImageFolder, batches, waiting, and ImageNet's size."""

    from .. import bench_data
    from ..bench import machine
    from ..training import hardware

    chosen = hardware.choose("auto", "auto")
    packing = list(bench_data.compare_packing(pictures, count, tuple(sorted({1, workers})), rounds))
    speed, share = bench_data.loader_speed(), bench_data.waiting(chosen)
    scale = bench_data.imagenet_scale(folder)
    scaling = packing[-1].ours / packing[0].ours
    about = machine(chosen)
    if as_json:
        figures = {"packing": packing, "scaling": scaling, "loader": speed, "waiting": share}
        print_json(about | figures | {"imagenet": scale})
        return
    for key, value in about.items():
        print(f"{key:<10} {value}")
    for row in packing:
        print(
            f"{'packing':<10} {row.ours:.0f} pictures/s with {row.workers} workers, textbook {row.textbook:.0f}, "
            f"ratio {row.ratio:.2f}"
        )
    print(f"{'scaling':<10} {scaling:.2f} times the speed with {packing[-1].workers} workers")
    print(f"{'loader':<10} {speed:,.0f} img/s in batches of 128 from a memory map, one thread")
    print(f"{'waiting':<10} {share:.2%} of the training time at 64 x 64")
    print(
        f"{'ImageNet':<10} {scale.pictures:,} pictures, {scale.gigabytes:.1f} GB: open in "
        f"{scale.open_sec * 1000:.1f} ms, {scale.img_per_sec:,.0f} img/s, {scale.memory_gb:.2f} GB of memory"
    )


@app.command()
def scale(
    devices: Annotated[str, typer.Option("--devices", help="Numbers of devices, separated by commas.")] = "1,8,64",
    resolutions: Annotated[str, typer.Option("--resolutions", help="Pixels, separated by commas.")] = "64,128",
    batch: Annotated[int, typer.Option("--batch", min=2, help="Images in a step, over all devices.")] = 512,
    kimg: Annotated[float, typer.Option("--kimg", min=0.001, help="Length of the run.")] = 1500.0,
    speed: Annotated[
        float, typer.Option("--img-per-sec", min=0.0, help="Speed of one device at 64 pixels; 0 measures this one.")
    ] = 0.0,
    bandwidth: Annotated[float, typer.Option("--bandwidth", min=0.001, help="Between devices, GB/s each way.")] = 25.0,
    price: Annotated[
        float, typer.Option("--price", min=0.0, help="Of a device for an hour; 0 tells hours only.")
    ] = 0.0,
    device: options.Device = None,
    precision: options.Precision = None,
    as_json: AsJson = False,
) -> None:
    """Estimate time and cost of a run on several devices: from this one's speed, or from one that you give."""
    import dataclasses

    from .. import config
    from ..bench import machine, time_device
    from ..recipe import Model
    from ..scaling import Device, Network, estimate, exchanged_bytes, step_multiply_adds
    from ..training import hardware

    counts, sizes = options.numbers("--devices", devices), options.numbers("--resolutions", resolutions)
    chosen = hardware.choose(device or "auto", precision or "auto")
    network, rows = Network(bandwidth * 1e9), []
    for size in sizes:
        model = config.from_dict(Model, {"resolution": size}, "--resolutions")
        work = step_multiply_adds(model)
        if speed:
            one = Device(0.0, work / step_multiply_adds(Model()) / speed)
        else:
            few = max(16 * 64**2 // size**2, 4) if chosen.device.type == "cpu" else 64
            one = time_device(chosen, model, (few, 4 * few))
        for count in counts:
            found = dataclasses.asdict(estimate(model, one, network, batch, kimg, count))
            rows.append({"resolution": size, **found, "cost": found["device_hours"] * price})
        print(
            f"{size} pixels: {work / 1e6:,.0f} M multiply-adds a picture, {sum(exchanged_bytes(model)) / 1e6:.1f} MB "
            f"of gradients a step; one device takes {one.fixed * 1e3:.1f} ms and {one.each * 1e6:.1f} us a picture",
            file=sys.stderr,
        )
    about = {"device": f"{speed:g} img/s at 64 pixels, as given"} if speed else machine(chosen)
    assumed = {"batch": batch, "kimg": kimg, "bandwidth_gb_per_sec": bandwidth, "price_per_hour": price}
    if as_json:
        print_json(about | assumed | {"estimates": rows})
        return
    for key, value in (about | assumed).items():
        print(f"{key:<22} {value}")
    print(f"{'pixels':>6} {'devices':>8} {'img/s':>12} {'efficiency':>11} {'hours':>10} {'cost':>10}")
    for row in rows:
        cost = f"{row['cost']:.2f}" if price else "-"
        print(
            f"{row['resolution']:>6} {row['devices']:>8} {row['img_per_sec']:>12,.0f} {row['efficiency']:>11.0%} "
            f"{row['hours']:>10.3f} {cost:>10}"
        )
