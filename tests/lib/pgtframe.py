#!/usr/bin/env python3
"""pgtframe.py - an independent reader of the plugin's frames (docs/protocol.md), for tests.

Reads frames as hex, one per line (psql's "\\x…" or bare), from standard input.  Strict: any byte the protocol does not explain
is an error.

  pgtframe.py text      one line per message; rows as `row schema.table/gen op mask |field|field|`, fields as text or 0x…
  pgtframe.py copy DIR  DIR/<relid>_<gen>.copy: what COPY … FROM (FORMAT binary) reads; DIR/<relid>_<gen>.x for 'X' and 'T' rows too
  pgtframe.py count     messages and rows per kind, frames, bytes
"""
import collections
import struct
import sys

MAGIC, VERSION, LZ4 = 0x50, 1, 1
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_TRAILER = struct.pack(">h", -1)


class Bad(Exception):
    pass


def need(ok, what):
    if not ok:
        raise Bad(what)


def unlz4(src, raw_len):
    """The LZ4 block format: token, literals, offset, match."""
    out = bytearray()
    i = 0

    def length(n, i):
        if n == 15:
            while True:
                b = src[i]
                i += 1
                n += b
                if b != 255:
                    break
        return n, i

    while i < len(src):
        token = src[i]
        i += 1
        n, i = length(token >> 4, i)
        out += src[i:i + n]
        i += n
        if i == len(src):
            break
        offset = src[i] | src[i + 1] << 8
        need(0 < offset <= len(out), "lz4 offset")
        i += 2
        n, i = length(token & 15, i)
        n += 4
        if offset >= n:
            start = len(out) - offset
            out += out[start:start + n]
        else:
            chunk = bytes(out[-offset:])
            out += (chunk * (n // offset + 1))[:n]
    need(len(out) == raw_len, "lz4 length %d, not %d" % (len(out), raw_len))
    return bytes(out)


def messages(frame):
    need(len(frame) > 12, "frame of %d bytes" % len(frame))
    magic, version, node, flags, zeros, raw = struct.unpack(">BBHB3sI", frame[:12])
    need((magic, version) == (MAGIC, VERSION) and zeros == b"\0\0\0" and flags in (0, LZ4), "frame header")
    payload = unlz4(frame[12:], raw) if flags & LZ4 else frame[12:]
    need(len(payload) == raw, "payload length")
    at = 0
    while at < raw:
        need(raw - at >= 5, "message header")
        kind, n = struct.unpack_from(">cI", payload, at)
        at += 5
        need(n <= raw - at, "message length")
        yield kind.decode("latin-1"), payload[at:at + n]
        at += n


def tuples(body, nrows):
    """(start, end, fields) of each COPY BINARY tuple; fields are bytes or None."""
    at = 0
    for _ in range(nrows):
        start = at
        (n,) = struct.unpack_from(">h", body, at)
        need(n >= 3, "field count")
        at += 2
        fields = []
        for _ in range(n):
            (length,) = struct.unpack_from(">i", body, at)
            at += 4
            if length == -1:
                fields.append(None)
                continue
            need(0 <= length <= len(body) - at, "field length")
            fields.append(body[at:at + length])
            at += length
        yield start, at, fields
    need(at == len(body), "bytes after the last row")


class Reader:
    """Checks the order of messages and gives (kind, dict) for each."""

    def __init__(self):
        self.relations = {}
        self.xid = None

    def read(self, frame):
        for kind, body in messages(frame):
            yield kind, getattr(self, "on_" + kind)(body)

    def on_B(self, body):
        need(self.xid is None, "begin within a transaction")
        (self.xid,) = struct.unpack(">Q", body)
        return {"xid": self.xid}

    def on_R(self, body):
        need(self.xid is not None, "relation outside of a transaction")
        relid, gen, natts, ncols = struct.unpack_from(">IIHH", body)
        attnums = struct.unpack_from(">%dH" % ncols, body, 12)
        names = body[12 + 2 * ncols:].split(b"\0")
        need(len(names) == 3 and names[2] == b"", "names")
        need(list(attnums) == sorted(set(attnums)) and (not attnums or 0 < attnums[0] and attnums[-1] <= natts), "attnums")
        rel = {"relid": relid, "gen": gen, "natts": natts, "attnums": attnums,
               "name": ".".join(n.decode("utf-8", "backslashreplace") for n in names[:2])}
        self.relations[relid, gen] = rel
        return rel

    def on_D(self, body):
        need(self.xid is not None, "data outside of a transaction")
        relid, gen, nrows = struct.unpack_from(">III", body)
        need(nrows > 0, "no rows")
        rel = self.relations.get((relid, gen))
        need(rel is not None, "data of an unknown relation")
        rows = []
        rest = body[12:]
        for start, end, fields in tuples(rest, nrows):
            need(len(fields) == len(rel["attnums"]) + 3, "columns")
            need(fields[0] == struct.pack(">Q", self.xid), "xid")
            op = fields[1].decode("latin-1")
            need(op in "+-TX", "op")
            if fields[2] is not None:
                if rel["natts"] <= 63:
                    need(len(fields[2]) == 8, "mask")
                else:
                    (bits,) = struct.unpack_from(">I", fields[2])
                    need(bits == rel["natts"] and len(fields[2]) == 4 + (bits + 7) // 8, "mask")
            if op in "TX":
                need(not any(f is not None for f in fields[2:]), "columns of T or X")
            rows.append((rest[start:end], op, fields[2], fields[3:]))
        return dict(rel, rows=rows)

    def on_C(self, body):
        xid, commit, end, time = struct.unpack(">QQQq", body)
        need(xid == self.xid, "xid of commit")
        need(commit < end, "lsns of commit")
        self.xid = None
        return {"xid": xid, "commit": commit, "end": end, "time": time}

    def on_S(self, body):
        need(self.xid is None, "barrier within a transaction")
        lsn, hint = struct.unpack(">QB", body)
        return {"lsn": lsn, "hint": hint}

    def on_Q(self, body):
        relid, gen = struct.unpack_from(">II", body)
        need((relid, gen) in self.relations and body[-1:] == b"\0" and body.count(b"\0", 8) == 1, "quarantine")
        return {"name": self.relations[relid, gen]["name"], "gen": gen, "reason": body[8:-1].decode("utf-8", "backslashreplace")}


def mask_text(rel, mask):
    if mask is None:
        return "-"
    if rel["natts"] <= 63:
        v = int.from_bytes(mask, "big")
        bits = [i + 1 for i in range(64) if v >> i & 1]
    else:
        bits = [i + 1 for i in range(rel["natts"]) if mask[4 + i // 8] & 0x80 >> i % 8]
    return "{%s}" % ",".join(map(str, bits))


def field_text(f):
    if f is None:
        return "NULL"
    if len(f) <= 60 and f and all(32 <= b < 127 for b in f):
        return f.decode()
    if len(f) in (1, 2, 4, 8):
        return str(int.from_bytes(f, "big", signed=True))
    return "0x" + f.hex() if len(f) <= 40 else "<%d bytes>" % len(f)


def text(kind, m):
    if kind == "R":
        yield "relation %s/%d %d {%s}" % (m["name"], m["gen"], m["natts"], ",".join(map(str, m["attnums"])))
    elif kind == "D":
        for _, op, mask, fields in m["rows"]:
            if op in "TX":
                yield "row %s/%d %s" % (m["name"], m["gen"], op)
            else:
                yield "row %s/%d %s %s |%s|" % (m["name"], m["gen"], op, mask_text(m, mask), "|".join(map(field_text, fields)))
    elif kind == "Q":
        yield "quarantine %s/%d %s" % (m["name"], m["gen"], m["reason"])
    elif kind == "S":
        yield "barrier %d" % m["hint"]
    else:
        yield {"B": "begin", "C": "commit"}[kind]


def frames():
    for line in sys.stdin:
        line = line.strip()
        if line:
            yield bytes.fromhex(line[2:] if line.startswith("\\x") else line)


def copy_files(directory):
    reader, files = Reader(), {}
    for frame in frames():
        for kind, m in reader.read(frame):
            if kind != "D":
                continue
            key = m["relid"], m["gen"]
            if key not in files:
                files[key] = open("%s/%d_%d.copy" % (directory, *key), "wb")
                files[key].write(COPY_HEADER)
            for raw, _, _, _ in m["rows"]:
                files[key].write(raw)
    for f in files.values():
        f.write(COPY_TRAILER)
        f.close()


def count():
    reader, c = Reader(), collections.Counter()
    for frame in frames():
        c["frames"] += 1
        c["bytes"] += len(frame)
        c["largest"] = max(c["largest"], len(frame))
        for kind, m in reader.read(frame):
            c[kind] += 1
            for row in m.get("rows", ()):
                c["row" + row[1]] += 1
    print(" ".join("%s=%d" % i for i in sorted(c.items())))


def main():
    if sys.argv[1] == "text":
        reader = Reader()
        for frame in frames():
            for kind, m in reader.read(frame):
                for line in text(kind, m):
                    print(line)
    elif sys.argv[1] == "copy":
        copy_files(sys.argv[2])
    else:
        count()


if __name__ == "__main__":
    try:
        main()
    except (Bad, IndexError, struct.error) as e:
        sys.exit("bad frame: %s" % e)
