package relay

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"example.com/qrand/qrypt"
)

// The two calls of the QRNG Open API that give no entropy.
const (
	capabilitiesPath = "/api/v1/capabilities"
	healthPath       = "/api/v1/healthtest"
)

// serveDevice answers what a client may ask for, and how healthy the entropy is. For the
// client's rate it is a request like any other.
func (r *Relay) serveDevice(w http.ResponseWriter, req *http.Request) {
	x := &exchange{w: w, r: req, began: time.Now()}
	defer r.log(x)
	defer r.rescue(x)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close") // until keep
	if req.Method != http.MethodGet {
		h.Set("Allow", http.MethodGet)
		x.refuse(refuse(http.StatusMethodNotAllowed, "this path only knows GET"))
		return
	}
	client := r.identify(x)
	if client == nil {
		return
	}
	if _, ok := x.charge(client, 0); !ok {
		return
	}
	answer := r.capabilities()
	if req.URL.Path == healthPath {
		if answer = r.healthTest(); answer == nil {
			x.refuseFor(maxSupplyWait, refuse(http.StatusServiceUnavailable, "no block has come from the service yet, so none was tested"))
			return
		}
	}
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	x.status = http.StatusOK
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// capabilities says which requests for entropy the relay accepts. One that asks for the
// most of both is too large: all blocks together have at most as many bytes as the largest
// block.
func (r *Relay) capabilities() any {
	most := min(maxBytes, r.cfg.Stock*qrypt.BlockSize)
	return map[string]any{"entropy": map[string]any{
		"min_block_size": 1, "max_block_size": most,
		"min_block_count": 1, "max_block_count": min(maxPieces, most),
	}}
}

// healthTest says how the tests went that the relay makes of each block before it takes it
// into its stock. It is nil before the first block.
func (r *Relay) healthTest() any {
	up := r.Upstream()
	if up.LastAnswer.IsZero() {
		return nil
	}
	received := r.Account().Received / qrypt.BlockSize
	return map[string]any{"test_result": []map[string]string{{
		"test_type":   "qrand: each block is of the documented form, passes health tests and was not seen before",
		"test_result": fmt.Sprintf("%d blocks passed, %d failed and were wiped", received, up.RefusedBlocks),
		"time_stamp":  up.LastAnswer.UTC().Format(time.RFC3339),
	}}}
}
