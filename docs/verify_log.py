"""For verify.py: how signatures are checked with openssl, and the proof that an envelope is in a log.

Sources: RFC 6962, and of https://c2sp.org tlog-proof, signed-note, tlog-checkpoint and tlog-cosignature."""
import base64, hashlib, pathlib, re, subprocess, sys, tempfile, time

SKEW = 300  # seconds by which clocks may differ
ED25519, ML_DSA_44 = "302a300506032b6570032100", "30820532300b06096086480165030403110382052100"
PSS = "-pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32 -pkeyopt rsa_mgf1_md:sha256"
KEYS = f"""{ED25519} ed25519
    3059301306072a8648ce3d020106082a8648ce3d030107 ecdsa-p256 -digest sha256
    3076301006072a8648ce3d020106052b81040022 ecdsa-p384 -digest sha384
    30819b301006072a8648ce3d020106052b81040023 ecdsa-p521 -digest sha512
    {ML_DSA_44} ml-dsa-44
    308207b2300b0609608648016503040312 ml-dsa-65
    30820a32300b0609608648016503040313 ml-dsa-87
    3082....300d06092a864886f70d01010105000382....003082....0282(?!00)(?!0100) rsa- -digest sha256 {PSS}""".splitlines()
# A line: how a SubjectPublicKeyInfo begins in hex (RSA has 2,048 bits or more), its algorithm, options of openssl.

def sha256(data): return hashlib.sha256(data).digest()
def utc(seconds): return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))
def require(condition, cause): return condition or sys.exit(f"REFUSED: {cause}")
def match(form, text): return require(re.fullmatch(form, text, re.S), f"{text!a:.80} is not {form!a}").groups()
def read(path):  # and wait for no pipe
    return require(pathlib.Path(path).is_file(), f"no file: {path}") and pathlib.Path(path).read_bytes().decode()

def algorithm(spki): return next((k.split()[1:] for k in KEYS if re.match(k.split()[0], spki.hex())), [""])

def unbase64(text):  # or PEM, of one block
    text = re.sub(r"-----[A-Z ]+-----|\s", "", text) if text.startswith("-----") else text
    return require(base64.b64encode(base64.b64decode(text)) == text.encode(), "odd base64") and base64.b64decode(text)

def check_signature(who, spki, message, signature):
    with tempfile.TemporaryDirectory() as folder:
        for name, data in ("key", spki), ("text", message), ("sig", signature):
            pathlib.Path(folder, name).write_bytes(data)
        command = "openssl pkeyutl -verify -pubin -keyform DER -inkey key -rawin -in text -sigfile sig".split()
        run = subprocess.run(command + algorithm(spki)[1:], cwd=folder, capture_output=True, text=True)
    good = run.returncode == 0
    if "Signature Verif" not in run.stdout:  # "Signature Verified Successfully", "Signature Verification Failure"
        print(f"this openssl cannot check the signature of {who}: package cryptography has to", flush=True)
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.serialization import load_der_public_key
        try:
            good = load_der_public_key(spki).verify(signature, message) is None
        except InvalidSignature:
            good = False
    require(good, f"the signature of {who} is wrong: another key made it, or something was changed")

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
    quorum, limit = log.get("quorum", 0), match("((?:[0-9]+[hms])*)", log.get("max_delay", ""))[0]
    delay = sum(int(n) * {"h": 3600, "m": 60, "s": 1}[unit] for n, unit in re.findall("([0-9]+)([hms])", limit))
    require(bool(witnesses) <= quorum <= len(witnesses) and ("max_delay" not in log or witnesses and delay),
        "the quorum does not fit the witnesses, or max_delay is zero or without them")
    columns = zip(*([w["name"], *w["key"].split("+", 2)] for w in log.get("witnesses", [])))
    require(all(len(set(column)) == len(witnesses) for column in columns), "a witness is there twice")
    form = "c2sp.org/tlog-proof@v1\n(?:extra ([^\n]+)\n)?index (0|[1-9]\\d{0,17})\n((?:[A-Za-z0-9+/]{43}=\n)*)\n(.+)"
    extra, index, path, note = match(form, proof)
    index, path, (size, top, times) = int(index), [*map(unbase64, path.split())], open_checkpoint(note, keys, witnesses)
    good = index < size and roots(index, size, path, sha256(b"\0" + leaf), False)[1] == top and not path
    require(good and (not extra) == (not after), f"the proof for entry {index} of {size} is another's, or was changed")
    times = [t for t in times if t <= time.time() + SKEW and made - SKEW <= t and not 0 < delay < t - made - SKEW]
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
