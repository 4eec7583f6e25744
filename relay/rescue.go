package relay

import (
	"fmt"
	"net/http"
	"runtime/debug"
)

// rescue is deferred. A panic before the answer becomes a 500; one within it ends
// the connection. It is logged without its value, which may have anything in it.
func (r *Relay) rescue(v *visit) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause != http.ErrAbortHandler {
		r.cfg.Logger.Error("relay: a request ended in a panic", "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
	}
	if v.status != 0 { // an answer has begun, and another must not follow in it
		panic(http.ErrAbortHandler)
	}
	v.refuse(refuse(http.StatusInternalServerError, "an error of the relay's own"))
}

// A noting is a ResponseWriter that notes the status of a visit's answer.
type noting struct {
	http.ResponseWriter
	v *visit
}

func (n *noting) WriteHeader(status int) {
	n.v.status = status
	n.ResponseWriter.WriteHeader(status)
}

func (n *noting) Write(p []byte) (int, error) {
	if n.v.status == 0 {
		n.v.status = http.StatusOK
	}
	return n.ResponseWriter.Write(p)
}

func (n *noting) Unwrap() http.ResponseWriter { return n.ResponseWriter }
