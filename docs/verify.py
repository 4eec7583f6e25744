#!/usr/bin/env python3
"""Verifies a statement about a key with openssl, and without any code of qrand. Read it, and keep it.

    python3 verify.py KEY TRUST [ENVELOPE [PROOF]]

KEY is the public key, certificate or request in PEM, TRUST the trust file. The last line is OK, with status 0, if the
statement is what TRUST asks for. Otherwise it is the cause why not. What cannot be checked is refused: ML-DSA needs
openssl 3.5 or Python's package cryptography. verify_log.py belongs to it: it checks signatures, and the proof of a
log. Formats: statement.md, records.md, transparency.md."""
import calendar, json, re, subprocess, sys, time
from decimal import Decimal
sys.dont_write_bytecode = True
from verify_log import SKEW, algorithm, check_log, check_signature, match, read, require, sha256, unbase64, utc

QRYPT = ["https://api-eus.qrypt.com", "https://api-weu.qrypt.com"]
QRAND = 1769904000  # 2026-02-01: no version of qrand is older
OBJECTS = """payloadType payload signatures | keyid sig | _type subject predicateType predicate | name digest | sha256
    | record ceremony? after? receipts? self_signed | id place? script_sha256? operators? witnesses? | name keyid |
    version algorithm public_key_sha256 time bytes entropy state reason? mix policy max_age_seconds? blocks
    fingerprints? last_block? last_received? age_seconds? endpoint? endpoint_certificate_sha256?
    endpoint_public_key_sha256? certificate? software go_version | kind sha256 bytes | relay client time blocks |
    fingerprints endpoint received emulated | signers threshold endpoints? emulated? receipts? log? | name key | name
    public_key client? | key witnesses? quorum? max_delay?""".split("|")  # members in order; ?: may be absent

def seconds(t):  # since 1970, from a time in UTC as Go writes it
    return calendar.timegm(time.strptime(t[:19], "%Y-%m-%dT%X")) + Decimal(match(r".{19}(\.\d{0,8}[1-9])?Z", t)[0] or 0)

def decode(text, order=list):  # the one encoding that Go's encoding/json writes, or (sorted) what a person wrote
    def known(pairs):
        names = [f"{name} is empty" if value in ("", [], None) else name for name, value in pairs]
        forms = [[m.strip("?") for m in form.split() if m[-1] != "?" or m[:-1] in names] for form in OBJECTS]
        return require(order(names) in map(order, forms), f"unknown, twice or missing: {names!a:.300}") and dict(pairs)
    value = json.loads(text, object_pairs_hook=known, parse_float=Decimal, parse_constant=Decimal)
    again = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=lambda d: str(d.normalize()).lower())
    again = re.sub('(?<=_seconds":)"([^"]*)"|[<>&\u2028\u2029]', lambda m: m[1] or f"\\u{ord(m[0]):04x}", again)
    require(again.isprintable(), "a text has a character that cannot be printed")
    return require(order is sorted or again == text, "it is not written byte for byte as qrand writes it") and value

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

def check_record(r):  # returns when the key was made: records.md, "What is refused"
    n, named, age, limit = (r.get(m, 0) for m in ("blocks", "fingerprints", "age_seconds", "max_age_seconds"))
    came, last, made = (seconds(r.get(m, r["time"])) for m in ("last_received", "last_block", "time"))
    require(r["version"] in (1, 2) and type(n) is type(r["bytes"]) is int and r["bytes"] > 0
        and {"quantum": n > 0, "emulated": True, "crypto/rand": n == 0}[r["entropy"]] and len(named or "") <= n
        and len(named or "") == len(set(named or ""))
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
    pem, trust, leaf = map(read, (key_file, trust_file, envelope_file))
    require(pem.startswith("-----BEGIN "), f"not in PEM: {key_file}")
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
        check_log(trust["log"], read(proof_file), leaf.encode(), p.get("after"), made)
    print(f"follows: {', '.join(people)} signed it; the key itself {'signed it, too' if own in signed else 'did not'}")
    print(f"does not follow: that its entropy was {r['entropy']}, and that it was made at {utc(made)}")
    wanted = {"a log": "log" in trust, "receipts": "receipts" in trust, "a certificate": certificate or not made_with}
    print("not checked:", *[f"{what}," for what in wanted if not wanted[what]], "what else record and ceremony say")
    print(f"OK: {key_file} is what {trust_file} asks for")

if not 3 <= len(sys.argv) <= 5:
    sys.exit(__doc__)
try:
    main(*sys.argv[1:])
except Exception as e:  # a file has not the form that it must have, or cannot be read
    sys.exit(f"REFUSED: {type(e).__name__}: {e!s:.400}")
