"""What relays signed about the blocks in a key, for verify.py. It shares no code with qrand.

Source: statement.md, "Receipts of relays".
"""
from verify_format import decode, nanoseconds
from verify_keys import pae, require, unbase64, verified

def read_receipt(envelope):
    require(envelope["payloadType"] == "application/vnd.qrand.receipt.v1+json", "the payload is not that of a receipt")
    r = decode(unbase64(envelope["payload"]), "receipt")
    fingerprints = [f for b in r["blocks"] for f in b["fingerprints"]]
    require(all(b["fingerprints"] for b in r["blocks"]) and 0 < len(fingerprints) <= 512, "it has a list of no blocks, or too many")
    require(len(set(fingerprints)) == len(fingerprints), "a block is in the receipt twice")
    require(all(nanoseconds(b["received"]) <= nanoseconds(r["time"]) for b in r["blocks"]), "blocks were handed out before they came")
    return r

def verify_receipts(trust, relays, receipts, record, endpoints, skew):  # yields what follows, and what does not
    ours = record.get("fingerprints", [])
    require(ours, "receipts of a relay are wanted, and no block was in the key")
    missing, skew = set(ours), skew * 10**9
    clients = {keyid: relay.get("client") for keyid, relay in zip(relays, trust["receipts"])}
    for envelope in receipts:
        signed = [s for s in envelope["signatures"] if s["keyid"] in relays]
        if not signed:
            yield "does not follow", f"an unknown key with keyid {envelope['signatures'][0]['keyid']} signed a receipt: that does not count"
            continue
        keyid = signed[0]["keyid"]
        name, key = relays[keyid]
        good = verified(key, pae(envelope), unbase64(signed[0]["sig"]))
        require(good, f"the signature of a receipt with the keyid of {name!a}, {keyid}, is wrong")
        r = read_receipt(envelope)
        blocks = [b for b in r["blocks"] if set(b["fingerprints"]) & set(ours)]
        if not blocks:
            yield "does not follow", f"{name!a} signed a receipt for other blocks: that does not count"
            continue
        for b in blocks:
            apart = abs(nanoseconds(b["received"]) - nanoseconds(record["last_received"]))
            emulated = b["emulated"] and record["entropy"] == "quantum"
            require(not emulated, "the relay had a block from an emulator, and the record says quantum")
            fits = apart <= skew or ours[-1] not in b["fingerprints"]
            require(fits, f"the last block came to the relay at {b['received']}, and by the record at {record['last_received']}")
            trusted = b["emulated"] or b["endpoint"] in endpoints
            require(trusted, f"a block had come to the relay from {b['endpoint']!a}, which is not trusted")
            missing -= set(b["fingerprints"])
        late = nanoseconds(r["time"]) - nanoseconds(record["last_block"])
        require(late <= skew, f"the relay handed a block out at {r['time']}, and the last went into the key at {record['last_block']}")
        client = clients[keyid] or r["client"]
        require(r["client"] == client, f"the relay handed a block out to its client {r['client']!a}, not to {client!a}")
        yield "follows", f"{name!a} signed that it handed blocks in the key out to its client {r['client']!a}, at {r['time']}"
    require(not missing, f"no receipt of a trusted relay is for the block {min(missing, default='')}")
