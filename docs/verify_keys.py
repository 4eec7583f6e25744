"""Keys and their signatures, for verify.py. It shares no code with qrand.

Signatures are verified by openssl, those of ML-DSA by the Python package cryptography if this openssl does not know them.
"""
import base64, hashlib, pathlib, re, subprocess, tempfile, time

def require(condition, cause):
    if not condition:
        raise ValueError(cause)

def match(pattern, text, what):
    found = re.fullmatch(pattern, text, re.S)
    require(found, f"this is not {what}")
    return found

def sha256(data):
    return hashlib.sha256(data).digest()

def unbase64(text):
    data = base64.b64decode(text, validate=True)
    require(base64.b64encode(data).decode() == text, "base64 that is not in its usual form")
    return data

def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

# The kinds of keys, by the DER of their AlgorithmIdentifier: name, and options of openssl for their signatures.
PSS = "-digest sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32 -pkeyopt rsa_mgf1_md:sha256"
ALGORITHMS = {
    "300506032b6570": ("ed25519", ""),
    "301306072a8648ce3d020106082a8648ce3d030107": ("ecdsa-p256", "-digest sha256"),
    "301006072a8648ce3d020106052b81040022": ("ecdsa-p384", "-digest sha384"),
    "301006072a8648ce3d020106052b81040023": ("ecdsa-p521", "-digest sha512"),
    "300d06092a864886f70d0101010500": ("rsa", PSS),
    "300b0609608648016503040311": ("ml-dsa-44", ""),
    "300b0609608648016503040312": ("ml-dsa-65", ""),
    "300b0609608648016503040313": ("ml-dsa-87", ""),
}

def algorithm(spki):  # SEQUENCE, its length, AlgorithmIdentifier. Other kinds of keys have no name here, and openssl's defaults
    inside = match("30(?:81..|82....|[0-7].)(.*)", spki.hex(), "a public key in DER")[1]
    identifier, (name, options) = next((a for a in ALGORITHMS.items() if inside.startswith(a[0])), ("", ("", "")))
    if name == "rsa":  # BIT STRING of SEQUENCE of INTEGER: the modulus, after a zero if its first bit is set
        n = match("03(?:81..|82....)0030(?:81..|82....)02(?:81(..)|82(....))(00)?(..).*", inside[len(identifier):], "an RSA key in DER")
        name = f"rsa-{8 * (int(n[1] or n[2], 16) - (2 if n[3] else 1)) + int(n[4], 16).bit_length()}"
    return name, options

def openssl(*args):
    return subprocess.run(["openssl", *args], capture_output=True, text=True)

def pem(text):  # one block: its kind and its DER
    block = match(r"\s*-----BEGIN (PUBLIC KEY|CERTIFICATE|CERTIFICATE REQUEST)-----([\w+/=\s]+)-----END \1-----\s*", text,
        "one PEM block with a public key, a certificate or a request")
    return block[1], unbase64("".join(block[2].split()))

def read_key(path):  # the SubjectPublicKeyInfo, and the certificate or request that it is in
    kind, der = pem(pathlib.Path(path).read_bytes().decode())
    if kind == "PUBLIC KEY":
        return der, None
    run = openssl("x509" if kind == "CERTIFICATE" else "req", "-in", path, "-noout", "-pubkey")
    require(run.returncode == 0, f"this openssl does not know the key in it: {run.stderr:.100}")
    return pem(run.stdout)[1], der

def pae(envelope):  # what is signed: https://github.com/secure-systems-lab/dsse, protocol.md
    kind, payload = envelope["payloadType"].encode(), unbase64(envelope["payload"])
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)

def verified(spki, message, signature):  # or an error, if that cannot be checked here
    with tempfile.TemporaryDirectory() as folder:
        key, text, sig = (pathlib.Path(folder, name) for name in ("key", "text", "sig"))
        key.write_bytes(spki), text.write_bytes(message), sig.write_bytes(signature)
        name, options = algorithm(spki)
        run = openssl("pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", key, "-rawin", "-in", text, "-sigfile", sig,
            *options.split())
    if "Signature Verif" in run.stdout:  # "Signature Verified Successfully" or "Signature Verification Failure"
        return run.returncode == 0 and "Verified Successfully" in run.stdout
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import mldsa
        from cryptography.hazmat.primitives.serialization import load_der_public_key
        require(name.startswith("ml-dsa"), "")
    except (ImportError, ValueError):
        raise ValueError(f"a signature cannot be checked here: this openssl knows no {name or 'keys of this kind'}") from None
    try:
        load_der_public_key(spki).verify(signature, message)
        return True
    except InvalidSignature:
        return False
