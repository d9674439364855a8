"""As much of curl as the README uses, for machines that have none.

Takes ``-X``, ``-H`` and ``-d`` with one URL, sends what curl would, and prints the answer.
"""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request


def main() -> None:
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("url")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data")
    args = parser.parse_args()
    headers = dict(header.split(": ", 1) for header in args.headers)
    data = None if args.data is None else args.data.encode()
    request = urllib.request.Request(args.url, data, headers, method=args.method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as answer:
            sys.stdout.buffer.write(answer.read())
    except urllib.error.HTTPError as refusal:  # curl shows it and ends well
        sys.stdout.buffer.write(refusal.read())


if __name__ == "__main__":
    main()
