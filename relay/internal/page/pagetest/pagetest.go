// Package pagetest reads the status page in tests.
package pagetest

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

// A Doc is the text of each element of a page that has an id.
type Doc map[string]string

// Parse reads a page as XML, which it is: every element is closed, and every
// attribute is quoted. It fails if an id is there twice.
func Parse(t *testing.T, page string) Doc {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	doc, ids := Doc{}, map[string]bool{}
	var within []string // the ids of the elements that are not closed yet
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the page does not parse: %v\n%s", err, page)
		}
		switch token := token.(type) {
		case xml.StartElement:
			id := ""
			for _, a := range token.Attr {
				if a.Name.Local == "id" {
					id = a.Value
					if ids[id] {
						t.Errorf("#%s is there twice", id)
					}
					ids[id] = true
				}
			}
			within = append(within, id)
		case xml.EndElement:
			within = within[:len(within)-1]
		case xml.CharData:
			for _, id := range within {
				if id != "" {
					doc[id] += string(token)
				}
			}
		}
	}
	for id, text := range doc {
		doc[id] = Spaces(text)
	}
	return doc
}

// Spaces makes each run of white space one space, as a browser does.
func Spaces(s string) string { return strings.Join(strings.Fields(s), " ") }

// Want fails unless the element has these texts in it.
func (d Doc) Want(t *testing.T, id string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(d[id], text) {
			t.Errorf("#%s does not say %q: %s", id, text, d[id])
		}
	}
}

// WantNo fails if there is one of these elements.
func (d Doc) WantNo(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if text, ok := d[id]; ok {
			t.Errorf("there is #%s: %s", id, text)
		}
	}
}
