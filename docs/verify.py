#!/usr/bin/env python3
"""Verifies a statement about a key. It shares no code with qrand: read it, and keep it.

    python3 verify.py KEY TRUST [ENVELOPE [PROOF]]

KEY is the public key, the certificate or the request, in PEM, and TRUST the trust file. The envelope is beside the key
(FILE.provenance.dsse.json), and the proof of the log beside the envelope (FILE.provenance.tlog-proof). A line says what
follows, or what does not. The status is 0 if the statement is what TRUST asks for. Otherwise it is 1, and the last line
says why. What cannot be checked here is refused.

verify_format.py reads the statement, verify_keys.py verifies signatures, verify_receipts.py and verify_log.py what relays and
a log have signed. They need Python 3.9 and openssl 3.0. Signatures of ML-DSA need openssl 3.5 or the package cryptography,
those of SLH-DSA openssl 3.5.
The formats are those of statement.md, records.md and transparency.md.
"""
import contextlib, pathlib, re, sys, time
sys.dont_write_bytecode = True
from verify_format import check_record, decode, read_statement
from verify_keys import ALGORITHMS, algorithm, pae, pem, read_key, require, sha256, unbase64, utc, verified
from verify_log import read_log, verify_log
from verify_receipts import verify_receipts

SKEW = 300  # seconds by which clocks may differ
QRAND = 1769904000  # 2026-02-01: no version is older
QRYPT = ["https://api-eus.qrypt.com", "https://api-weu.qrypt.com"]

def say(verdict, subject, text):
    print(f"{verdict:15} {subject:11} {text}")

@contextlib.contextmanager
def about(subject):
    """Ends the program if something inside is not as it must be."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
        say("REFUSED", subject, f"{e!s:.400}")
        sys.exit(1)

def read_keys(trusted):  # of signers or relays: by keyid, name and key
    keys = {}
    for s in trusted:
        spki = pem(s["public_key"])[1] if "-----" in s["public_key"] else unbase64(s["public_key"])
        name = algorithm(spki)[0]
        fits = 2048 <= int(name[4:]) <= 16384 if name.startswith("rsa-") else name
        require(fits, f"the key of {s['name']!a} is of a kind or size that is not taken")
        require(sha256(spki).hex() not in keys, f"the key of {s['name']!a} is there twice")
        keys[sha256(spki).hex()] = s["name"], spki
    return keys

def read_trust(trust):  # the keys of the signers, and those of the relays
    signers, relays = read_keys(trust["signers"]), read_keys(trust.get("receipts", []))
    require(1 <= trust["threshold"] <= len({name for name, _ in signers.values()}), "the threshold is not from 1 to the number of signers")
    return signers, relays

def check_signatures(envelope, self_signed, spki, signers, threshold):
    own, signed, possession = sha256(spki).hex(), set(), False
    for keyid, signature in ((s["keyid"], unbase64(s["sig"])) for s in envelope["signatures"]):
        with about("possession"):
            require(self_signed or keyid != own, "the statement says that its own key did not sign it, and it has that key's signature")
        if keyid != own and keyid not in signers:
            say("does not follow", "signer", f"an unknown key with keyid {keyid} signed, too: that was not verified, and does not count")
            continue
        name, key = signers.get(keyid, ("the key itself", spki))
        with about("signer"):
            require(verified(key, pae(envelope), signature), f"the signature with the keyid of {name!a}, {keyid}, is wrong")
        possession |= keyid == own
        if keyid in signers:
            signed.add(name)
            say("follows", "signer", f"{name!a} signed it, with keyid {keyid}")
    with about("threshold"):
        require(len(signed) >= threshold, f"it is signed by {len(signed)} signers, and {threshold} must have signed")
        say("follows", "threshold", f"it is signed by {len(signed)} signers, and {threshold} must have signed")
    with about("possession"):
        require(possession == self_signed, "the key itself must have signed it, and there is no signature of that key")
    if possession:
        say("follows", "possession", "the key itself signed it: whoever made the statement had the private key")
    else:
        say("does not follow", "possession", "the key itself did not sign it: the signers state who has the private key")

def main(key_file, trust_file, envelope_file=None, proof_file=None):
    stem = re.sub(r"\.(pub|crt|csr)$", "", key_file)
    envelope_file = envelope_file or stem + ".provenance.dsse.json"
    with about("trust"):
        trust = decode(pathlib.Path(trust_file).read_bytes(), "trust", exact=False)
        signers, relays = read_trust(trust)
        log = read_log(trust["log"]) if "log" in trust else None
    with about("statement"):
        leaf = pathlib.Path(envelope_file).read_bytes()
        require(leaf.endswith(b"}\n"), "the envelope does not end with a newline")
        envelope = decode(leaf[:-1], "envelope")
        p, r = read_statement(envelope)
        made = check_record(r)
    with about("key"):
        spki, certificate = read_key(key_file)
        name, said = algorithm(spki)[0], r["algorithm"].replace("ecdh-", "ecdsa-")  # a SubjectPublicKeyInfo does not tell them apart
        require(sha256(spki).hex() == r["public_key_sha256"], "the statement is about another key")
        same = said == name if name else said not in {known for known, _ in ALGORITHMS.values()}
        require(same, f"it is a key for {name or 'something else'}, and the statement says {said!a}")
        say("follows", "key", f"the statement is about this key, whose SHA-256 is {r['public_key_sha256']}")
        if not name:
            say("does not follow", "key", f"that it is a key for {said!a}: this program does not know its kind")
    with about("certificate"):
        c = r.get("certificate")
        require(c or not certificate, "the statement is about no certificate and no request")
        same = not certificate or sha256(certificate).hex() == c["sha256"]
        require(same, "it is another certificate or request than the one made with the key")
        if c:
            verdict = "follows" if certificate else "does not follow"
            say(verdict, "certificate", f"the statement is about this {c['kind']}, too, whose SHA-256 is {c['sha256']}")
    check_signatures(envelope, p["self_signed"], spki, signers, trust["threshold"])
    if "ceremony" in p:
        say("does not follow", "ceremony", f"that it was made in the ceremony {p['ceremony']['id']!a}: that is the word of the signers")
    with about("entropy"):
        require(r["entropy"] != "emulated" or trust.get("emulated"), "the entropy was EMULATED, not quantum")
        say("does not follow", "entropy", {
            "quantum": "that it was quantum: that is the word of the service",
            "emulated": "the entropy was EMULATED: the key is for rehearsals only",
            "crypto/rand": "no block was in the key: it is as good as crypto/rand, and no better",
        }[r["entropy"]])
    if r["entropy"] == "quantum":
        with about("endpoint"):
            trusted = trust.get("endpoints", QRYPT)
            require(r.get("endpoint") in trusted, f"the last block came from {r.get('endpoint')!a}, which is not trusted")
            say("follows", "endpoint", f"the last block came from {r['endpoint']!a}, which is trusted")
    with about("time"):
        require(QRAND <= made <= time.time() + SKEW, f"it was made at {utc(made)}, which is in the future or before qrand")
        say("does not follow", "time", f"that the key was made at {utc(made)}: that is the word of the signers")
    with about("receipts"):
        if "receipts" in trust:
            for verdict, text in verify_receipts(trust, relays, p.get("receipts", []), r, QRYPT + trust.get("endpoints", []), SKEW):
                say(verdict, "receipts", text)
        elif "receipts" in p:
            say("does not follow", "receipts", f"{len(p['receipts'])} receipts of relays were not checked")
    with about("log"):
        if log:
            proof = pathlib.Path(proof_file or envelope_file.replace(".dsse.json", ".tlog-proof"))
            require(proof.exists(), f"it was never logged, or its proof is lost: there is no {proof.name}")
            for verdict, text in verify_log(*log, proof.read_bytes().decode(), leaf, p.get("after"), made, SKEW):
                say(verdict, "log", text)
        else:
            say("does not follow", "log", "when it was made, and that there is no other statement: no log is given")
    print(f"OK: the statement about {key_file} is what {trust_file} asks for")

if not 3 <= len(sys.argv) <= 5:
    sys.exit(__doc__)
main(*sys.argv[1:])
