"""What happens to a daemon that runs for months: every fault, and nothing lost by it.

Each test starts the real program on a tree of real (small) modules, does harm, and then waits until
every module's BTF is again what a fresh encode of its bytes gives; `Tree.wrong` is that truth, and
knows nothing of events. Times only bound how long a test that fails may take.

The marker `heavy` stands on what takes more than some seconds: `pytest -m "not heavy"` leaves it
out, `make faults` runs everything here.
"""
