"""Stands in for ssh: runs the command here, and writes down what it used.

The folder of the report is the first line of ``BENCHMARK_SSH``. A line ``count`` has the bytes
of both directions counted as well, and the server's share of memory (PSS; of a process that chg
has forked, what is its own), which costs time; a number is the time of a round
trip in milliseconds: what is sent arrives after half of it. `measuring` reads the report.
Started in the background by a shell, so that no client reaps it: what the server uses is
never counted as the client's. It imports next to nothing, for each connection starts it.
"""

import os
import sys


def pumped(command, env, delay, sizes):
    """Run the command between two pumps; the process, and bytes to and from it.

    What is sent arrives ``delay`` seconds later. ``sizes`` is for `watch`, or None.
    """
    import queue
    import subprocess
    import threading
    import time

    child = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    counts = [0, 0]
    if sizes is not None:
        threading.Thread(target=watch, args=(child.pid, sizes), daemon=True).start()

    def take(source, on_the_way):
        data = b'-'
        while data:
            data = os.read(source, 65536)
            on_the_way.put((time.monotonic() + delay, data))

    def pump(which, source, target):
        on_the_way: queue.Queue[tuple[float, bytes]] = queue.Queue()
        threading.Thread(target=take, args=(source, on_the_way), daemon=True).start()
        while True:
            arrives, data = on_the_way.get()
            time.sleep(max(0, arrives - time.monotonic()))
            if not data:
                break
            counts[which] += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
        os.close(target)

    up = threading.Thread(target=pump, args=(0, 0, os.dup(child.stdin.fileno())), daemon=True)
    child.stdin.close()
    up.start()
    pump(1, child.stdout.fileno(), 1)
    return child, counts


def watch(pid, sizes):
    """Keep the largest size of the server, in KB, in ``sizes``. Its command may be chg's client."""
    import glob
    import re
    import time

    of, what = pid, 'Pss'
    while True:
        # The server of chg names its process after that of the client.
        for found in glob.glob('/proc/[0-9]*/cmdline') if of == pid else ():
            try:
                with open(found, 'rb') as file:
                    if file.read().startswith(b'chg[worker/%d]' % pid):
                        of, what = found.split('/')[2], r'Private_\w+'
            except OSError:
                pass
        try:
            with open(f'/proc/{of}/smaps_rollup') as file:
                kilobytes = re.findall(rf'^{what}: +(\d+)', file.read(), re.MULTILINE)
        except OSError:
            return
        sizes[what] = max(sizes.get(what, 0), sum(map(int, kilobytes)))
        time.sleep(0.003)


def main():
    env = dict(os.environ)
    folder, *options = env.pop('BENCHMARK_SSH').split('\n')
    command = ['/bin/sh', '-c', 'exec ' + ' '.join(sys.argv[2:])]
    delay = sum(float(option) / 2000 for option in options if option != 'count')
    sizes: dict[str, int] = {}
    if options:
        # Kept: a Popen that goes away reaps its child.
        child, counts = pumped(command, env, delay, sizes if 'count' in options else None)
        pid = child.pid
    else:
        pid, counts = os.posix_spawn(command[0], command, env), [0, 0]
        os.close(0)
        os.close(1)
    if not options:
        # The client waits for the end of this one: it is the server's alone.
        os.close(2)
    _pid, _status, usage = os.wait4(pid, 0)
    if options:
        os.close(2)
    report = os.path.join(folder, str(os.getpid()))
    with open(report + '.half', 'w') as file:
        cpu = usage.ru_utime + usage.ru_stime
        # What is its own, if it is a worker of chg: its client came first.
        memory = [*sizes.values(), 0][max(0, len(sizes) - 1)] / 1024
        file.write(f'{cpu} {usage.ru_maxrss / 1024} {counts[0]} {counts[1]} {memory}')
    os.rename(report + '.half', report + '.done')


main()
