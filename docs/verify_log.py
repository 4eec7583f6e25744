"""The proof that an envelope is in a log, for verify.py. It shares no code with qrand.

Sources: RFC 6962 section 2.1, and of https://c2sp.org tlog-proof, signed-note, tlog-checkpoint and tlog-cosignature.
"""
import re, time
from verify_keys import match, require, sha256, unbase64, utc, verified

# The tree (RFC 6962 section 2.1). A path ends at the root.
def node(left, right):
    return sha256(b"\1" + left + right)

def split(n):
    return 1 << (n - 1).bit_length() - 1  # the largest power of two that is smaller

def root(leaf, index, size, path):  # that an inclusion proof leads to: section 2.1.1
    require((size > 1) == (len(path) > 0), "the proof has too few or too many hashes: it is that of another entry, or was changed")
    if size == 1:
        return leaf
    if index < split(size):
        return node(root(leaf, index, split(size), path[:-1]), path[-1])
    return node(path[-1], root(leaf, index - split(size), size - split(size), path[:-1]))

def roots(old, size, path, known):  # of the old size and of this one: section 2.1.2. Known is the old root, where the path has it not
    if old == size:
        require(len(path) == (0 if known else 1), "the proof of growth has too few or too many hashes")
        return [known or path[0]] * 2
    require(path, "the proof of growth has too few hashes")
    if old <= split(size):
        before, now = roots(old, split(size), path[:-1], known)
        return [before, node(now, path[-1])]
    before, now = roots(old - split(size), size - split(size), path[:-1], None)
    return [node(path[-1], before), node(path[-1], now)]

# The signatures of log and witnesses.
def note_key(text):  # NAME+HASH+KEY: name, hash, type, SubjectPublicKeyInfo
    name, keyid, key = text.split("+", 2)
    key = unbase64(key)
    require(keyid == sha256(name.encode() + b"\n" + key)[:4].hex(), f"the verifier key of {name!a:.100} is damaged")
    header = {  # of a SubjectPublicKeyInfo
        (1, 33): "302a 300506032b6570 032100", (4, 33): "302a 300506032b6570 032100",
        (6, 1313): "30820532 300b0609608648016503040311 0382052100",
    }.get((key[0], len(key)))
    require(header, f"the verifier key of {name!a:.100} has another type than Ed25519 (1), its cosignature (4) and that of ML-DSA-44 (6)")
    return name, keyid, key[0], bytes.fromhex(header) + key[1:]

def open_checkpoint(note, log, witnesses):  # size, root, and the cosignatures that are there: time and witness
    text, lines = match("(.+\n)\n((?:\u2014 [^ +\n]+ [^ \n]+\n)+)", note, "a signed note").groups()
    origin, size, top = match("([^\n]+)\n(0|[1-9][0-9]{0,17})\n([A-Za-z0-9+/]{43}=)\n", text, "a checkpoint").groups()
    size, top, signatures, times = int(size), unbase64(top), {}, []
    for _, name, blob in (line.split(" ") for line in lines[:-1].split("\n")):
        signatures.setdefault((name, unbase64(blob)[:4].hex()), unbase64(blob)[4:])
    for key in log + witnesses:
        name, keyid, kind, spki = key
        if (name, keyid) not in signatures:
            require(key in witnesses, f"the checkpoint is not signed by the log's key {name}+{keyid}")
            continue
        signature, message = signatures[name, keyid], text.encode()
        if kind != 1:
            stamp, signature = signature[:8], signature[8:]
            message = b"cosignature/v1\ntime %d\n" % int.from_bytes(stamp, "big") + message
        if kind == 6:
            by, of = name.encode(), origin.encode()
            message = b"subtree/v1\n\0%c%s%s%c%s" % (len(by), by, stamp, len(of), of) + bytes(8) + size.to_bytes(8, "big") + top
        require(verified(spki, message, signature),
            f"the signature of {name}+{keyid} on the checkpoint is wrong: it or the checkpoint was changed")
        if key in witnesses:
            times.append((int.from_bytes(stamp, "big"), name))
    require(origin == log[0][0], f"the checkpoint is of the log {origin!a:.100}, not of {log[0][0]!a:.100}")
    require(size > 0 or top == sha256(b""), "a log without entries has the root of some")
    return size, top, sorted(times)

def read_log(trust):  # keys of the log, keys of the witnesses, quorum, and seconds that they have
    log, witnesses = [note_key(k) for k in trust["key"].split()], [note_key(w["key"]) for w in trust.get("witnesses", [])]
    quorum, limit = trust.get("quorum", 0), trust.get("max_delay", "")
    require(len({k[0] for k in log}) == 1 and {k[2] for k in log} <= {1, 6}, "the keys of a log have one name, and type 1 or 6")
    require({w[2] for w in witnesses} <= {4, 6}, "the keys of witnesses have type 4 or 6")
    require(len({k[3] for k in log + witnesses}) == len(log + witnesses), "a key of log or witness is there twice")
    names = {w["name"] for w in trust.get("witnesses", [])}
    require(len(names) == len({w[0] for w in witnesses}) == len(witnesses), "a witness is there twice: it has one name and one key")
    require(quorum <= len(witnesses) and (quorum > 0) == (len(witnesses) > 0), "the quorum does not fit the witnesses")
    require(quorum or not limit, "max_delay is given, and no witness that says the time")
    seconds = sum(int(n) * {"h": 3600, "m": 60, "s": 1}[unit] for n, unit in re.findall("([0-9]+)([hms])", limit))
    return log, witnesses, quorum, seconds or float("inf")

def verify_log(log, witnesses, quorum, delay, proof, leaf, after, made, skew):  # yields what follows, and what does not
    form = "c2sp.org/tlog-proof@v1\n(?:extra ([^\n]+)\n)?index (0|[1-9][0-9]{0,17})\n((?:[A-Za-z0-9+/]{43}=\n)*)\n(.+)"
    extra, index, path, checkpoint = match(form, proof, "a proof of a log").groups()
    index, path = int(index), [unbase64(line) for line in path.split()]
    size, top, times = open_checkpoint(checkpoint, log, witnesses)
    require(index < size, f"the proof is for entry {index}, but the checkpoint has {size} entries")
    require(root(sha256(b"\0" + leaf), index, size, path) == top,
        f"the envelope is not entry {index} of {size}: the proof is that of another entry, or was changed")
    yield "follows", f"the envelope is entry {index} of the log {log[0][0]!a}, whose {len(log)} keys signed the head of size {size}"

    counted = [t for t in times if t[0] <= time.time() + skew and made - skew <= t[0] <= made + delay + skew]
    require(len(counted) >= quorum, f"the cosignatures of {quorum} witnesses must count, and those of {len(counted)} do. "
        f"The key was made at {utc(made)}. " + "; ".join(f"{name} cosigned at {utc(t)}" for t, name in times))
    if quorum:
        yield "follows", f"it was in the log at {utc(counted[quorum - 1][0])}, by the word of {quorum} witnesses"
    else:
        yield "does not follow", "without witnesses the log can show a history to each of us, and says no time"

    require((extra is None) == (after is None),
        "the statement names an earlier checkpoint and the proof shows no growth from it, or the reverse")
    if after is None:
        return
    extra = unbase64(extra)
    growth = [extra[i:i + 32] for i in range(8, len(extra), 32)]
    old, before, times = open_checkpoint(after, log, witnesses)
    require(len(extra) % 32 == 8 and int.from_bytes(extra[:8], "big") == old,
        f"the statement names a checkpoint of size {old}, and the proof shows growth from another size")
    require(old <= index, f"the envelope is entry {index}, and names a checkpoint of size {old} that would have it already")
    require(roots(old, size, growth, before) == [before, top] if old else not growth,
        "the checkpoint that the statement names is of another history than that of the proof")
    if quorum and len(times) >= quorum:
        since = times[-quorum][0]
        require(since <= made + skew,
            f"the statement names a checkpoint that was cosigned at {utc(since)}, after the key was made at {utc(made)}")
        yield "follows", f"it is not older than {utc(since)}: it names the head of size {old}, which was cosigned by then"
    else:
        yield "does not follow", f"since when it can be: the head of size {old}, from which the log has grown, has no quorum"
