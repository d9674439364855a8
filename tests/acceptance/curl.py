"""As much of curl as the README and the workspaces use, for machines that have none.

Sends what curl would, and prints the answer. A header may come from standard input (``@-``).
"""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from pathlib import Path

REFUSED = 22  # curl's exit code for --fail
UNREACHABLE = 7


def main() -> int:
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("address", nargs="?")
    parser.add_argument("--url")
    parser.add_argument("-X", "--request")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-S", "--show-error", action="store_true")
    parser.add_argument("-f", "--fail", action="store_true")
    parser.add_argument("-m", "--max-time", type=float)
    parser.add_argument("-o", "--output")
    parser.add_argument("-w", "--write-out", default="")
    args = parser.parse_args()
    given = [each for each in args.header if each != "@-"]
    if "@-" in args.header:
        given += sys.stdin.read().splitlines()
    headers = dict(header.split(": ", 1) for header in given)
    data = None if args.data is None else args.data.encode()
    url = args.url or args.address
    request = urllib.request.Request(url, data, headers, method=args.request)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=args.max_time) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as refusal:  # curl shows it and ends well
        status, body = refusal.code, refusal.read()
    except OSError:
        status, body = 0, b""
    told = b"" if args.fail and status >= 400 else body
    if args.output is None:
        sys.stdout.buffer.write(told)
    else:
        Path(args.output).write_bytes(told)
    sys.stdout.write(args.write_out.replace("%{http_code}", f"{status:03}"))
    if status == 0:
        return UNREACHABLE
    return REFUSED if args.fail and status >= 400 else 0


if __name__ == "__main__":
    sys.exit(main())
