#!/usr/bin/env python3
"""Verifies a statement about a key with openssl, and without any code of qrand. Read it, and keep it.

    python3 verify.py KEY TRUST [ENVELOPE [PROOF]]

KEY is the public key, certificate or request in PEM, TRUST the trust file. The last line is OK, with status 0, if the
statement is what TRUST asks for. Otherwise it is the cause why not. What cannot be checked is refused: ML-DSA needs
openssl 3.5 or Python's package cryptography. Formats: statement.md, records.md, transparency.md."""
import base64, calendar, hashlib, json, pathlib, re, subprocess, sys, tempfile, time
from decimal import Decimal

sys.tracebacklimit = 0  # an error of Python is a cause, too
QRYPT = ["https://api-eus.qrypt.com", "https://api-weu.qrypt.com"]
SKEW, QRAND = 300, 1769904000  # seconds by which clocks may differ; 2026-02-01: no version of qrand is older
ED25519, ML_DSA_44 = "302a300506032b6570032100", "30820532300b06096086480165030403110382052100"
KEYS = f"""{ED25519} ed25519 | 3059301306072a8648ce3d020106082a8648ce3d030107 ecdsa-p256 -digest sha256 | {ML_DSA_44}
    ml-dsa-44 | 3076301006072a8648ce3d020106052b81040022 ecdsa-p384 -digest sha384 | 308207b2300b0609608648016503040312
    ml-dsa-65 | 30819b301006072a8648ce3d020106052b81040023 ecdsa-p521 -digest sha512 |
    30820a32300b0609608648016503040313 ml-dsa-87 |
    3082....300d06092a864886f70d01010105000382....003082....0282(?!00)(?!0100) rsa- -digest sha256
    -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32 -pkeyopt rsa_mgf1_md:sha256""".split("|")
# How a SubjectPublicKeyInfo begins in hex (RSA has 2,048 bits or more), its algorithm, and the options of openssl.
OBJECTS = """payloadType payload signatures | keyid sig | _type subject predicateType predicate | name digest | sha256
    | record ceremony? after? receipts? self_signed | id place? script_sha256? operators? witnesses? | name keyid |
    version algorithm public_key_sha256 time bytes entropy state reason? mix policy max_age_seconds? blocks
    fingerprints? last_block? last_received? age_seconds? endpoint? endpoint_certificate_sha256?
    endpoint_public_key_sha256? certificate? software go_version | kind sha256 bytes | relay client time blocks |
    fingerprints endpoint received emulated | signers threshold endpoints? emulated? receipts? log? | name key | name
    public_key client? | key witnesses? quorum? max_delay?""".split("|")  # members in order; ?: may be absent

def sha256(data): return hashlib.sha256(data).digest()
def utc(seconds): return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))
def require(condition, cause): return condition or sys.exit(f"REFUSED: {cause}")
def match(form, text): return require(re.fullmatch(form, text, re.S), f"{text!a:.80} is not {form!a}").groups()
def algorithm(spki): return next((k.split()[1:] for k in KEYS if re.match(k.split()[0], spki.hex())), [""])

def seconds(t):  # since 1970, from a time in UTC as Go writes it
    return calendar.timegm(time.strptime(t[:19], "%Y-%m-%dT%X")) + Decimal(match(r".{19}(\.\d{0,8}[1-9])?Z", t)[0] or 0)

def unbase64(text):  # or PEM, of one block
    text = re.sub(r"-----[A-Z ]+-----|\s", "", text) if text.startswith("-----") else text
    return require(base64.b64encode(base64.b64decode(text)) == text.encode(), "odd base64") and base64.b64decode(text)

def decode(text, order=list):  # the one encoding that Go's encoding/json writes, or (sorted) what a person wrote
    def known(pairs):
        names = [f"{name} is empty" if value in ("", [], None) else name for name, value in pairs]
        forms = [[m.strip("?") for m in form.split() if m[-1] != "?" or m[:-1] in names] for form in OBJECTS]
        return require(order(names) in map(order, forms), f"unknown, twice or missing: {names!a:.300}") and dict(pairs)
    value = json.loads(text, object_pairs_hook=known, parse_float=Decimal, parse_constant=Decimal)
    again = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=lambda d: str(d.normalize()).lower())
    again = re.sub('(?<=_seconds":)"([^"]*)"|[<>&\u2028\u2029]', lambda m: m[1] or f"\\u{ord(m[0]):04x}", again)
    return require(order is sorted or again == text, "it is not written byte for byte as qrand writes it") and value

def check_signature(who, spki, message, signature):
    with tempfile.TemporaryDirectory() as folder:
        for name, data in ("key", spki), ("text", message), ("sig", signature):
            pathlib.Path(folder, name).write_bytes(data)
        command = "openssl pkeyutl -verify -pubin -keyform DER -inkey key -rawin -in text -sigfile sig".split()
        run = subprocess.run(command + algorithm(spki)[1:], cwd=folder, capture_output=True, text=True)
    if "Signature Verif" not in run.stdout:  # "Signature Verified Successfully", "Signature Verification Failure"
        print(f"cannot be checked here with openssl, only with package cryptography: the key of {who}", flush=True)
        from cryptography.hazmat.primitives.serialization import load_der_public_key
        return load_der_public_key(spki).verify(signature, message)  # or an error
    require(run.returncode == 0, f"the signature of {who} is wrong: another key made it, or something was changed")

def open_envelope(envelope, kind, keys):  # the payload, and the keyids of those keys that signed: DSSE, protocol.md
    payload, signed = unbase64(envelope["payload"]), {s["keyid"]: unbase64(s["sig"]) for s in envelope["signatures"]}
    require(envelope["payloadType"] == kind and [s["keyid"] for s in envelope["signatures"]] == sorted(signed),
        "the type of the payload is wrong, or the order of signatures")
    for keyid in sorted(keys.keys() & signed):
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
        check_signature(f"{keys[keyid][0]!a} with keyid {keyid}", keys[keyid][1], message, signed[keyid])
    return decode(payload.decode()), keys.keys() & signed

def read_keys(trusted):  # of signers or relays, by keyid: name, key, client
    keys = [(k["name"], unbase64(k["public_key"]), k.get("client")) for k in trusted]
    keys = {sha256(k[1]).hex(): k for k in keys if algorithm(k[1])[0]}
    return require(len(keys) == len(trusted), "a key is there twice, or of a kind that is not taken") and keys

def roots(n, size, path, start, tree):  # before and now, of the tree of this size whose entry n is the leaf or
    if size == 1 or tree and n == size - 1:  # the last of the tree before: RFC 6962, sections 2.1.1 and 2.1.2
        return [start or path.pop()] * 2
    half, p = 1 << (size - 1).bit_length() - 1, path.pop()
    if n >= half:
        return [sha256(b"\1" + p + r) for r in roots(n - half, size - half, path, None if tree else start, tree)]
    before, now = roots(n, half, path, start, tree)
    return [before, sha256(b"\1" + now + p)]

def open_checkpoint(note, keys, witnesses):  # size, root, times: c2sp.org/tlog-checkpoint, tlog-cosignature
    form = "(([^\n]+)\n(0|[1-9]\\d{0,17})\n([A-Za-z0-9+/]{43}=)\n)\n((?:\u2014 [^ \n]+ [^ \n]+\n)+)"
    text, origin, size, top, lines = match(form, note)
    found = map(str.split, reversed(lines.splitlines()))  # reversed: the first one of a key counts
    signed = {(name, unbase64(blob)[:4].hex()): unbase64(blob)[4:] for _, name, blob in found}
    size, top, times = int(size), unbase64(top), {}
    for vkey in [k for k in keys + witnesses if k in keys or tuple(k.split("+", 2)[:2]) in signed]:
        name, keyid, key = vkey.split("+", 2)
        blob, kind = require(signed.get((name, keyid)), f"the log's key {name}+{keyid} did not sign"), unbase64(key)[0]
        by, of, at = name.encode(), origin.encode(), int.from_bytes(blob[:8], "big")
        subtree = b"subtree/v1\n\0%c%s%s%c%s%s" % (len(by), by, blob[:8], len(of), of, size.to_bytes(16, "big") + top)
        message = {1: text.encode(), 4: f"cosignature/v1\ntime {at}\n{text}".encode(), 6: subtree}[kind]
        spki = bytes.fromhex(ML_DSA_44 if kind == 6 else ED25519) + unbase64(key)[1:]
        check_signature(f"{name}+{keyid} on a checkpoint", spki, message, blob if kind == 1 else blob[8:])
        times.update({spki: at} if vkey in witnesses else {})  # who cosigned, by key
    require(origin == keys[0].split("+")[0] and (size or top == sha256(b"")), "a checkpoint is that of another log")
    return size, top, sorted(times.values())

def check_log(log, proof, leaf, after, made):  # https://c2sp.org/tlog-proof
    keys, witnesses = log["key"].split(), [w["key"] for w in log.get("witnesses", [])]
    quorum, hours = log.get("quorum", 0), int(match("([0-9]{1,9})h", log.get("max_delay", "999999999h"))[0])
    require(bool(witnesses) <= quorum <= len(witnesses) and (witnesses or "max_delay" not in log), "a wrong quorum")
    columns = zip(*([w["name"], *w["key"].split("+", 2)] for w in log.get("witnesses", [])))
    require(all(len(set(column)) == len(witnesses) for column in columns), "a witness is there twice")
    form = "c2sp.org/tlog-proof@v1\n(?:extra ([^\n]+)\n)?index (0|[1-9]\\d{0,17})\n((?:[A-Za-z0-9+/]{43}=\n)*)\n(.+)"
    extra, index, path, note = match(form, proof)
    index, path, (size, top, times) = int(index), [*map(unbase64, path.split())], open_checkpoint(note, keys, witnesses)
    good = index < size and roots(index, size, path, sha256(b"\0" + leaf), False)[1] == top and not path
    require(good and (not extra) == (not after), f"the proof for entry {index} of {size} is another's, or was changed")
    times = [t for t in times if t <= time.time() + SKEW and made - SKEW <= t <= made + 3600 * hours + SKEW]
    require(len(times) >= quorum, f"{len(times)} witnesses cosigned in time, and {quorum} must have")
    by = f"there by {utc(times[quorum - 1])}" if quorum else "at an unknown time: no witness is asked for"
    print(f"follows: it is entry {index} of the log {keys[0].split('+')[0]!a}, {by}")
    if after:
        extra, (old, root, times) = unbase64(extra), open_checkpoint(after, keys, witnesses)
        path = [extra[i:i + 32] for i in range(8, len(extra), 32)]
        good = extra[:8] == old.to_bytes(8, "big") and len(extra) % 32 == 8 and old <= index and (
            not old or roots(old - 1, size, path, root, True) == [root, top]) and not path
        since = times[-quorum] if 0 < quorum <= len(times) else 0
        require(good and since <= made + SKEW, "the checkpoint that it names is too new, or of another history")
        print("follows: it is not older than", utc(since) if since else "a checkpoint, whose time no quorum says")

def check_record(r):  # returns when the key was made: records.md, "What is refused"
    n, named, age, limit = (r.get(m, 0) for m in ("blocks", "fingerprints", "age_seconds", "max_age_seconds"))
    came, last, made = (seconds(r.get(m, r["time"])) for m in ("last_received", "last_block", "time"))
    require(r["version"] in (1, 2) and type(n) is type(r["bytes"]) is int and r["bytes"] > 0
        and {"quantum": n > 0, "emulated": True, "crypto/rand": n == 0}[r["entropy"]] and len(named or "") <= n
        and (n > 0) == bool(named) == ("last_block" in r) == ("last_received" in r)
        and (n == 0 or r["state"] in ("Seeded", "Degraded")), "the number of blocks does not fit the rest")
    require(came <= last <= made and made - came - Decimal("0.001") <= age and (age <= limit or not limit)
        and bool(limit) == (r["policy"] == "RequireFresh" and r["version"] == 2)
        and ("endpoint_certificate_sha256" in r) == ("endpoint_public_key_sha256" in r), "it contradicts itself")
    return require(QRAND <= made <= time.time() + SKEW and made, f"{utc(made)} is in the future, or before qrand")

def check_receipts(receipts, relays, r, endpoints):  # statement.md, "Receipts of relays"
    missing = set(require(r.get("fingerprints"), "receipts are wanted, and no block was in the key"))
    for receipt, signed in (open_envelope(e, "application/vnd.qrand.receipt.v1+json", relays) for e in receipts):
        for b in (b for b in receipt["blocks"] if signed and set(b["fingerprints"]) & set(r["fingerprints"])):
            apart = abs(seconds(b["received"]) - seconds(r["last_received"]))
            require((apart <= SKEW or r["fingerprints"][-1] not in b["fingerprints"])
                and seconds(receipt["time"]) <= seconds(r["last_block"]) + SKEW
                and (r["entropy"] == "emulated" if b["emulated"] else b["endpoint"] in endpoints)
                and {relays[k][2] for k in signed} <= {None, receipt["client"]}, f"it does not fit: {receipt!a:.400}")
            missing -= set(b["fingerprints"])
    require(not missing, f"no receipt of a trusted relay is for the blocks {missing}")

def main(key_file, trust_file, envelope_file=None, proof_file=None):
    envelope_file = envelope_file or re.sub(r"\.(pub|crt|csr)$", "", key_file) + ".provenance.dsse.json"
    pem, trust, leaf = (pathlib.Path(f).read_bytes().decode() for f in (key_file, trust_file, envelope_file))
    certificate = sha256(unbase64(pem)).hex() if "CERTIFICATE" in pem else None
    command = ["openssl", "req" if "REQUEST" in pem else "x509", "-noout", "-pubkey"]
    spki = unbase64(subprocess.run(command, input=pem, capture_output=True, text=True).stdout if certificate else pem)
    trust, own = decode(trust, sorted), sha256(spki).hex()
    signers, relays = read_keys(trust["signers"]), read_keys(trust.get("receipts", []))
    endpoints = [e for e in trust.get("endpoints", QRYPT) if e.startswith("https://")]
    require(1 <= trust["threshold"] <= len({k[0] for k in signers.values()}), "the threshold does not fit the signers")
    statement, signed = open_envelope(decode(match("(.*)\n", leaf)[0]), "application/vnd.in-toto+json",
        {own: ("the key itself", spki), **signers})
    p, r = statement["predicate"], statement["predicate"]["record"]
    made, people = check_record(r), sorted({signers[k][0] for k in signed if k in signers})
    made_with = [(r["certificate"]["kind"], r["certificate"]["sha256"])] if "certificate" in r else []
    subjects = [{"name": n, "digest": {"sha256": d}} for n, d in [(r["algorithm"], own), *made_with]]
    require(own == r["public_key_sha256"] and r["algorithm"].replace("ecdh-", "ecdsa-").startswith(algorithm(spki)[0])
        and statement == {"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicate": p,
        "predicateType": "https://example.com/qrand/key-provenance/v1"}, "it is no statement about this key")
    require(not certificate or certificate in dict(made_with).values(), "it is not about this certificate or request")
    require(len(people) >= trust["threshold"], f"{len(people)} people signed it, and {trust['threshold']} must have")
    require((own in signed) == p["self_signed"], "the key itself must have signed, or must not have: see self_signed")
    require(r["entropy"] != "emulated" or trust.get("emulated") is True, "the entropy was EMULATED, not quantum")
    require(r["entropy"] != "quantum" or r.get("endpoint") in endpoints, "the last block's endpoint is not trusted")
    if "receipts" in trust:
        check_receipts(p.get("receipts", []), relays, r, QRYPT + endpoints)
    if "log" in trust:
        proof_file = proof_file or envelope_file.replace(".dsse.json", ".tlog-proof")
        check_log(trust["log"], pathlib.Path(proof_file).read_bytes().decode(), leaf.encode(), p.get("after"), made)
    print(f"follows: {', '.join(people)} signed it; the key itself {'signed it, too' if own in signed else 'did not'}")
    print(f"does not follow: that its entropy was {r['entropy']}, and that it was made at {utc(made)}")
    wanted = {"a log": "log" in trust, "receipts": "receipts" in trust, "a certificate": certificate or not made_with}
    print("not checked:", *[f"{what}," for what in wanted if not wanted[what]], "what else record and ceremony say")
    print(f"OK: {key_file} is what {trust_file} asks for")

main(*sys.argv[1:])
