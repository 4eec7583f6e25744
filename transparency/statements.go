package transparency

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"example.com/qrand"
	"example.com/qrand/provenance"
)

// VerifyStatements returns a function for Monitor.Verify. It refuses an entry that
// trust.VerifyEntry refuses, a second entry about one key, and a block that a record calls
// fresh if the record of another key names it as its newest one, too. Only entries that were
// not refused count as the first. It needs some 150 bytes of memory for each entry.
//
// Two records name one block alike only if one Source made both keys, or two Sources that have
// one qrand.FingerprintKey: other fingerprints cannot be compared. Under Augment and
// RequireInitial one block may be the newest in several keys. Under RequireFresh each key needs
// a Reseed before it, as qrand keygen does it.
func VerifyStatements(trust provenance.Trust) func(index int64, entry []byte) error {
	type block struct {
		index int64
		fresh bool
	}
	keys := map[[32]byte]int64{}   // SHA-256
	blocks := map[[20]byte]block{} // fingerprint
	return func(index int64, entry []byte) error {
		e, err := provenance.ParseEnvelope(entry)
		if err != nil {
			return err
		}
		report, err := trust.VerifyEntry(e, time.Now())
		if err != nil {
			return err
		}
		record := report.Statement.Record
		var key [32]byte
		hex.Decode(key[:], []byte(record.PublicKey)) // which is hex, as the record was read
		if first, ok := keys[key]; ok {
			return fmt.Errorf("it is about the key of entry %d, whose SHA-256 is %s: a key has one statement", first, record.PublicKey)
		}
		if n := len(record.Fingerprints); n > 0 {
			var name [20]byte
			hex.Decode(name[:], []byte(strings.Replace(record.Fingerprints[n-1], ":", "", 1)))
			fresh := record.Policy == qrand.RequireFresh
			if first, ok := blocks[name]; ok && (fresh || first.fresh) {
				return fmt.Errorf("its newest block, %s, is that of another key, in entry %d: RequireFresh means one for each key", record.Fingerprints[n-1], first.index)
			} else if !ok {
				blocks[name] = block{index, fresh}
			}
		}
		keys[key] = index
		return nil
	}
}
