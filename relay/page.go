package relay

import "net/http"

const stylePath = "/style.css"

func (r *Relay) servePage(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "page") }
func serveStyle(w http.ResponseWriter, _ *http.Request)           {}
