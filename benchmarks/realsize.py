"""A headless server at real size, beside the same hg without the extensions.

    python benchmarks/realsize.py [--folder DIR] [--backend services] [--small | --quick]

README.rst explains what it does, and how to read what it prints.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / 'tests'))

import history
from exchange import check, exchange
from helpers.world import HG, World
from measuring import stand_in_for_ssh
from pages import many, pages
from report import Figures, Run, load, machine, table
from throughput import throughput
from variants import Variant, backend

import hgext_headless

PARTS = ('exchange', 'pages', 'throughput', 'memory')
#: The second repository, that `clone -r` is for: changesets and files.
SECOND = 200, 100
PRESETS: dict[str, dict[str, int]] = {
    'small': {'public': 60, 'files': 200},
    'quick': {
        'public': 2000,
        'files': 500,
        'heads': 200,
        'stored': 2000,
        'rounds': 1,
        'pushes': 16,
        'pages': 20,
    },
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--folder', type=Path, help='where the histories are kept for the next run')
    add('--public', type=int, default=500_000, help='changesets (%(default)s)')
    add('--files', type=int, default=50_000, help='files of the newest (%(default)s)')
    add('--heads', type=int, default=10_000, help="draft heads of 'heads' (%(default)s)")
    add('--stored', type=int, default=1_000_000, help="drafts of 'stored' (%(default)s); 0: none")
    add('--rounds', type=int, default=5, help='of each operation (%(default)s)')
    add('--pushes', type=int, default=200, help='of eight clients at once (%(default)s)')
    add('--pages', type=int, default=1000, help='of different drafts, for memory (%(default)s)')
    add('--threads', type=int, default=10, help='that ask for these (%(default)s)')
    add('--backend', choices=('embedded', 'services'), default='embedded')
    add('--rtt', type=int, default=0, help='milliseconds of a round trip over ssh')
    add('--remotecmd', default=HG, help='hg of the servers over ssh: chg, for example')
    add('--parts', nargs='+', choices=PARTS, default=PARTS, metavar='PART', help=', '.join(PARTS))
    for preset, values in PRESETS.items():
        shown = ' '.join(f'--{name} {value}' for name, value in values.items())
        add(f'--{preset}', action='store_true', help=f'the same as {shown}')
    args = parser.parse_args()
    for preset, values in PRESETS.items():
        if getattr(args, preset):
            parser.set_defaults(**values)
    return parser.parse_args()


def measure(figures: Figures, args: argparse.Namespace, folder: Path, scratch: Path) -> None:
    """All parts, one after the other, on servers and clients that are made for it."""
    started = time.monotonic()

    def note(text: str) -> None:
        print(f'{time.monotonic() - started:6.0f} s  {text}', file=sys.stderr, flush=True)

    bases = {
        'large': history.made(folder, args.public, args.files, args.heads),
        'small': history.made(folder, *SECOND, args.heads),
    }
    world = World(scratch)
    stand_in_for_ssh(world, args.remotecmd, args.rtt)
    names = ['stock', 'heads', 'ours', *(['stored'] if args.stored else [])]
    with contextlib.ExitStack() as stack:
        stack.callback(world.stop)
        where = stack.enter_context(backend(args.backend))
        variants = []
        for name in names:
            note(f'making {name}')
            variants.append(Variant(world, name, bases, where, args.stored))
            stack.callback(variants[-1].stop)
        # Pages are of drafts that these push.
        if {'exchange', 'pages'} & set(args.parts):
            note('exchange')
            exchange(figures, variants, args.rounds)
        if 'pages' in args.parts:
            note('pages')
            pages(figures, variants, args.rounds)
        if 'throughput' in args.parts:
            note('throughput')
            throughput(figures, world, variants, bases['large'][0], args.pushes)
        if 'memory' in args.parts:
            note('memory')
            headed = [v for v in variants if v.name != 'stock']
            many(figures, headed, args.pages, args.threads)
        for variant in variants:
            check(variant)
        note('done')


def main() -> None:
    args = arguments()
    # Pip compiles what it installs.
    compileall.compile_dir(Path(hgext_headless.__file__).parent, quiet=1)
    # Servers are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))
    print(f'{machine()}; {load()}')
    print(
        f'{args.public:,} public changesets, {args.files:,} files; heads: {args.heads:,}; '
        f'stored: {args.stored:,}; {args.backend}; {args.rounds} rounds',
        flush=True,
    )
    figures = Figures()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            measure(figures, args, args.folder or Path(scratch) / 'histories', Path(scratch))
    finally:  # what was measured until something failed
        small = args.public <= PRESETS['small']['public']
        run = Run(args.backend == 'services', bool(args.rtt), args.remotecmd != HG, small)
        for line in table(figures, run):
            print(line)
        print(load())


if __name__ == '__main__':
    main()
