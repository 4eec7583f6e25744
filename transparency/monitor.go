package transparency

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// CheckEnvelope checks that an entry is an envelope of a statement. It verifies no signature.
func CheckEnvelope(_ int64, entry []byte) error {
	var e struct {
		PayloadType string `json:"payloadType"`
	}
	if err := json.Unmarshal(entry, &e); err != nil || e.PayloadType != "application/vnd.in-toto+json" {
		return errors.New("it is not an envelope with payloadType application/vnd.in-toto+json")
	}
	return nil
}

// ReadKeys reads a file of verifier keys, one in each line, as Create writes it.
func ReadKeys(path string) (vkeys []string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if vkeys = strings.Fields(string(data)); len(vkeys) == 0 {
		return nil, fmt.Errorf("%s has no keys", path)
	}
	return vkeys, nil
}
