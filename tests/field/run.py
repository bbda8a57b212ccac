"""Sends frames to a running system, and compares the answers with the requirements of the RFCs.

usage: run.py INTERFACE HARDWARE IPV4 IPV6 GROUP...

Runs in the network namespace of the test that starts it. Prints a line for each case, `ok NAME` or `FAILED NAME: WHY`;
exits with 1 if a case failed. The groups are functions of the modules beside this file.
"""

import logging
import sys
import traceback
from collections import namedtuple

logging.getLogger("scapy").setLevel(logging.ERROR)

import flood  # noqa: E402
import ipv4  # noqa: E402
import ipv6  # noqa: E402
import tcp  # noqa: E402

Guest = namedtuple("Guest", "hardware ipv4 ipv6")
GROUPS = {"tcp": tcp.CASES, "ipv4": ipv4.CASES, "ipv6": ipv6.CASES, "flood": flood.CASES}


def main(interface, hardware, address4, address6, *groups):
    guest = Guest(hardware, address4, address6)
    failed = False
    for group in groups:
        for case in GROUPS[group]:
            name = f"{group}: {case.__doc__.splitlines()[0]}"
            try:
                case(interface, guest)
                print("ok", name, flush=True)
            except AssertionError as error:
                failed = True
                line = traceback.extract_tb(error.__traceback__)[-1]
                print(f"FAILED {name}: {str(error) or line.line}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
