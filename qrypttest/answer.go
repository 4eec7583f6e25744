package qrypttest

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

const (
	typeJSON = "application/json"
	typeHTML = "text/html; charset=utf-8"
)

const page = "<!DOCTYPE html>\n<html><head><title>Moved</title></head>" +
	"<body><p>This is a page, and no entropy.</p></body></html>\n"

// nesting is ten times the depth at which encoding/json gives up.
const nesting = 100_000

// replace gives the answers that need no blocks, whatever the request: a
// proxy's or a broken server's. It returns false if the fault is no such one.
func (v *visit) replace(f Fault) bool {
	if err := f.check(); err != nil {
		// Only a hook's fault comes here unchecked.
		v.refuse(refusal{status: http.StatusInternalServerError, text: "SetFault: " + err.Error()})
		return true
	}
	switch f.Kind {
	case Status:
		v.refuse(refusal{status: f.Status, text: "a script answers " + strconv.Itoa(f.Status)})
	case Hang:
		v.e.pause(v.r.Context(), -1)
		v.drop()
	case Redirect:
		v.w.Header().Set("Location", RedirectPath)
		v.send(http.StatusMovedPermanently, typeHTML, []byte(page))
	case HTML:
		v.send(http.StatusOK, typeHTML, []byte(page))
	case DeepNesting:
		head, tail := v.order.envelope(1)
		nested := strings.Repeat("[", nesting) + strings.Repeat("]", nesting)
		v.send(http.StatusOK, typeJSON, []byte(head+nested+tail))
	case Empty:
		v.send(http.StatusOK, typeJSON, nil)
	case NoJSON:
		v.send(http.StatusOK, typeJSON, []byte("no healthy upstream\n"))
	case ExpiredCertificate:
		v.drop()
	default:
		return false
	}
	return true
}

// answer sends the blocks a request may have, spoiled as kind says.
func (v *visit) answer(kind Kind) {
	o := v.order
	if kind == WrongSize && o.open {
		kind = WrongCount
	}
	head, tail := o.envelope(o.count)
	contentType := typeJSON
	var list []byte
	switch kind {
	case Oversize, GzipBomb:
		// They make their own.
	case Repeat:
		list = encode(v.e.repeated(o.count, o.size))
	case Stuck:
		list = encode(v.e.stuck(o.count, o.size))
	case Biased:
		list = encode(v.e.biased(o.count, o.size))
	case WrongCount:
		n := o.count + 1
		if o.count%2 == 0 {
			n = o.count - 1
		}
		head, tail = o.envelope(n)
		list = encode(v.e.ordinary(n, o.size, false))
	default:
		blocks := v.e.ordinary(o.count, o.size, kind == OK)
		switch kind {
		case URLBase64:
			for _, b := range blocks {
				b[0] = 0xfb // its first six bits are "-", or "+" in the right alphabet
			}
		case BlockLength:
			blocks[o.count-1] = blocks[o.count-1][1:]
		}
		list = encode(blocks)
	}

	switch kind {
	case URLBase64:
		list = []byte(strings.NewReplacer("+", "-", "/", "_").Replace(string(list)))
	case BadBase64:
		list[len(list)-len(`*=="]`)] = '*' // no padding is longer than "=="
	case WrongSize:
		_, tail = o.envelope(o.count + 1)
	case WrongType:
		contentType = "text/plain; charset=utf-8"
	case Trailing:
		tail += "\n{\"more\":\"data\"}"
	case DuplicateKeys:
		// One object with the members of two.
		list = append(list, strings.TrimSuffix(tail, "}")+","+strings.TrimPrefix(head, "{")...)
		list = append(list, encode(v.e.ordinary(o.count, o.size, false))...)
	}
	body := append(append([]byte(head), list...), tail...)

	switch kind {
	case Oversize:
		v.oversize()
	case GzipBomb:
		v.gzipBomb()
	case Drip:
		v.drip(body)
	case Reset:
		v.reset(body)
	case Truncate:
		v.send(http.StatusOK, typeJSON, body[:len(body)/2])
	case ShortBody:
		v.half(body)
		v.drop()
	case OK:
		v.issues = int64(o.units())
		v.send(http.StatusOK, typeJSON, body)
	default:
		v.send(http.StatusOK, contentType, body)
	}
}

// envelope is what comes before and after the list of blocks.
func (o order) envelope(size int) (head, tail string) {
	if o.open {
		return `{"entropy":`, `}`
	}
	return `{"random":`, `,"size":` + strconv.Itoa(size) + `}`
}

func encode(blocks [][]byte) []byte {
	list := []byte{'['}
	for i, b := range blocks {
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, '"')
		list = base64.StdEncoding.AppendEncode(list, b)
		list = append(list, '"')
	}
	return append(list, ']')
}
