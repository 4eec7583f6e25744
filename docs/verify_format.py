"""The statement about a key, in its one encoding: what verify.py reads. It shares no code with qrand.

A member that is there twice, in another case, or unknown is refused. So no other program reads something else in it.
"""
import calendar, json, re, time
from decimal import Decimal
from verify_keys import require, unbase64

# The members of each object, in their order: NAME:KIND, with a question mark if it may be absent. A kind is an object, a list of
# [KIND], or a pattern of the JSON. Nothing in a line is escaped but " \ < > &, so it has no control characters.
OBJECTS = {
    "envelope": "payloadType:name payload:base64 signatures:[signature]", "signature": "keyid:digest sig:base64",
    "statement": "_type:name subject:[subject] predicateType:name predicate:predicate",
    "subject": "name:name digest:sha256", "sha256": "sha256:digest",
    "predicate": "record:record ceremony?:ceremony after?:text receipts?:[envelope] self_signed:bool",
    "record": """version:1|2 algorithm:name public_key_sha256:digest time:time bytes:int entropy:"(quantum|emulated|crypto/rand)"
        state:"(Starting|Seeded|Degraded|Closed)" reason?:line mix:"Mix(XOR|Rekey|Refill)"
        policy:"(Augment|RequireInitial|RequireFresh)" max_age_seconds?:number blocks:int
        fingerprints?:["[0-9a-f]{8}:[0-9a-f]{32}"] last_block?:time last_received?:time age_seconds?:number endpoint?:line
        endpoint_certificate_sha256?:digest endpoint_public_key_sha256?:digest certificate?:certificate
        software:line go_version:line""",
    "receipt": "relay:name client:name time:time blocks:[handed]",
    "handed": 'fingerprints:["[0-9a-f]{8}:[0-9a-f]{32}"] endpoint:name received:time emulated:bool',
    "certificate": 'kind:"(certificate|request)" sha256:digest bytes:int',
    "ceremony": "id:name place?:line script_sha256?:digest operators?:[operator] witnesses?:[name]", "operator": "name:name keyid:digest",
    "trust": 'signers:[key] threshold:int endpoints?:["https://.*[^/]"] emulated?:bool receipts?:[relay] log?:log',
    "key": 'name:name public_key:".+"', "relay": 'name:name public_key:".+" client?:name',
    "log": 'key:name witnesses?:[witness] quorum?:int max_delay?:"([0-9]+[hms])*"', "witness": "name:name key:name",
}
PATTERNS = {
    "line": r'"([^\\]|\\["\\]|\\u00[23])*"', "name": r'"([^\\]|\\["\\]|\\u00[23])+"',
    "text": r'"([^\\]|\\n|\\["\\]|\\u00[23])+"', "digest": '"[0-9a-f]{64}"',
    "base64": '"[A-Za-z0-9+/]+={0,2}"', "bool": "true|false", "int": "[0-9]{1,18}", "number": "[0-9.e-]+",
    "time": r'"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-5][0-9]){2}(\.[0-9]{0,8}[1-9])?Z"',
}

def decode(data, kind, exact=True):  # exact: in the one encoding that Go's encoding/json writes, without members that are empty
    def once(pairs):
        require(len(dict(pairs)) == len(pairs), "a member is there twice")
        return dict(pairs)
    value = json.loads(data.decode(), object_pairs_hook=once)
    check(value, kind, exact)
    require(not exact or encode(value) == data, "it is not written byte for byte as qrand writes it")
    return value

def encode(value):
    def number(m):  # an exponent only below a millionth
        x = float(m[0])
        return format(Decimal(repr(x)).normalize(), "f") if x >= 1e-6 else repr(x).replace("e-0", "e-")
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    text = re.sub(r'(?<=_seconds":)[0-9.e-]+', number, text)
    return re.sub("[<>&\u2028\u2029]", lambda c: f"\\u{ord(c[0]):04x}", text).encode()

def check(value, kind, exact):
    if kind.startswith("["):
        require(type(value) is list, f"{value!a:.80} is not a list")
        for v in value:
            check(v, kind[1:-1], exact)
    elif kind in OBJECTS:
        members = dict(m.split(":", 1) for m in OBJECTS[kind].split())
        require(type(value) is dict, f"{value!a:.80} is not an object")
        names = [m.rstrip("?") for m in members if not m.endswith("?") or m[:-1] in value]
        same = names == list(value) if exact else set(names) == set(value)
        require(same, f"the members of the {kind} are not {', '.join(names)}")
        for name, v in value.items():
            check(v, members.get(name) or members[name + "?"], exact)
            require(v or name in members or not exact, f"{name} is empty")
    else:
        require(re.fullmatch(PATTERNS.get(kind, kind), encode(value).decode()), f"{value!a:.80} is not of the kind {kind}")

def read_statement(envelope):
    keyids = [s["keyid"] for s in envelope["signatures"]]
    require(0 < len(keyids) <= 32 and keyids == sorted(set(keyids)), "its signatures are not up to 32, sorted by keyid, one of each")
    for s in envelope["signatures"]:
        unbase64(s["sig"])
    require(envelope["payloadType"] == "application/vnd.in-toto+json", "the payload is of another type")
    s = decode(unbase64(envelope["payload"]), "statement")
    p, r = s["predicate"], s["predicate"]["record"]
    c = r.get("certificate")
    subjects = [(r["algorithm"], r["public_key_sha256"])] + ([(c["kind"], c["sha256"])] if c else [])
    require(s["_type"] == "https://in-toto.io/Statement/v1", "it is not a statement of in-toto, version 1")
    require(s["predicateType"] == "https://example.com/qrand/key-provenance/v1", "its predicate is of another type")
    require(s["subject"] == [{"name": n, "digest": {"sha256": d}} for n, d in subjects], "its subjects are not those of its record")
    require(not p["self_signed"] or not r["algorithm"].startswith("ecdh-"), "a key for ECDH does not sign")
    return p, r

def nanoseconds(t):
    return calendar.timegm(time.strptime(t[:19], "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(t[20:-1].ljust(9, "0"))

def check_record(r):  # returns when the key was made, unless the record contradicts itself: records.md, "What is refused"
    n, age, endpoint = r["blocks"], r.get("age_seconds", 0), r.get("endpoint", "")
    made, last, came = (nanoseconds(r.get(m, r["time"])) for m in ("time", "last_block", "last_received"))
    certified = {m in r for m in ("endpoint_certificate_sha256", "endpoint_public_key_sha256")}
    fits = all((m in r) == (n > 0) for m in ("fingerprints", "last_block", "last_received")) and (n > 0 or not age and not endpoint)
    require(r["bytes"] > 0, "no key is made of 0 bytes")
    require(fits and len(r.get("fingerprints", [])) <= min(n, 16), "what it says of the last block does not fit the number of blocks")
    require(r["entropy"] == "emulated" or (r["entropy"] == "quantum") == (n > 0), "the entropy does not fit the number of blocks")
    blockless = r["policy"] == "Augment" or r["state"] == "Closed"
    require(r["state"] in ("Seeded", "Degraded") if n else blockless, "the state does not fit the number of blocks")
    require(came <= last <= made, "the last block is newer than the key, or went in before it came")
    require((made - came) / 1e9 - 1e-3 <= age < 1e10, "the last block was older than the record says")
    require(age <= r.get("max_age_seconds", age), "the last block was older than RequireFresh allowed")
    fits = len(certified) == 1 and (certified == {False} or endpoint.startswith("https://"))
    require(fits, "a TLS certificate and its public key do not fit the endpoint")
    limited = "max_age_seconds" in r
    require(r["version"] == 1 or limited == (r["policy"] == "RequireFresh"), "max_age_seconds does not fit the policy")
    require(r["version"] == 2 or not limited and certified == {False}, "it has members that version 1 does not have")
    return made / 10**9
