package fhir

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

const xhtmlSpace = "http://www.w3.org/1999/xhtml"

// What a narrative may hold (https://hl7.org/fhir/R4/narrative.html#xhtml): text
// and tables, lists, images and links, no scripts, forms, frames, objects or
// handlers of events. The page that shows it must not have to trust it.
var (
	narrativeElements = wordSet(`a abbr acronym address b bdo big blockquote br caption center cite code col
		colgroup dd del dfn dir div dl dt em font h1 h2 h3 h4 h5 h6 hr i img ins kbd li ol p pre q s samp
		small span strike strong sub sup table tbody td tfoot th thead tr tt u ul var map area`)
	narrativeAttributes = wordSet(`abbr accept accesskey align alt axis bgcolor border cellhalign cellpadding
		cellspacing cellvalign char charoff charset cite class clear color colspan compact coords datetime dir
		face frame headers height href hreflang hspace id lang longdesc name noshade nowrap rel rev rowspan
		rules scope shape size span src start style summary tabindex title type valign value vspace width`)
)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// checkNarrative gives the fault of a narrative, or nothing.
func checkNarrative(text string) string {
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Strict = true
	dec.Entity = xml.HTMLEntity
	depth, roots := 0, 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "The narrative is not well-formed XHTML."
		}
		switch token := token.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return "The narrative is nested too deeply."
			}
			if depth == 1 {
				if roots++; token.Name.Local != "div" || roots > 1 {
					return "The narrative must be one div element."
				}
			}
			if fault := checkTag(token); fault != "" {
				return fault
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && strings.TrimSpace(string(token)) != "" {
				return "The narrative must be one div element."
			}
		case xml.ProcInst, xml.Directive:
			return "The narrative must not hold processing instructions or declarations."
		}
	}
	if roots != 1 {
		return "The narrative must be one div element."
	}
	return ""
}

func checkTag(tag xml.StartElement) string {
	if tag.Name.Space != xhtmlSpace {
		return "The narrative must be in the namespace of XHTML."
	}
	if !narrativeElements[tag.Name.Local] {
		return "The element " + quote(tag.Name.Local) + " is not allowed in a narrative."
	}
	for _, a := range tag.Attr {
		if a.Name.Local == "xmlns" || a.Name.Space == "xmlns" {
			continue
		}
		if a.Name.Space == "http://www.w3.org/XML/1998/namespace" && (a.Name.Local == "lang" || a.Name.Local == "space") || a.Name.Space == "xml" {
			continue
		}
		if a.Name.Space != "" || !narrativeAttributes[a.Name.Local] {
			return "The attribute " + quote(a.Name.Local) + " is not allowed in a narrative."
		}
		switch a.Name.Local {
		case "href", "src", "cite", "longdesc":
			if !safeLink(a.Name.Local, a.Value) {
				return "A link in the narrative has a scheme that is not allowed."
			}
		case "style":
			if !safeStyle(a.Value) {
				return "A style in the narrative refers to something outside itself."
			}
		}
	}
	return ""
}

// safeLink allows what cannot run: relative and local addresses, http, mail; for
// images also data of an image that is not a document itself.
func safeLink(attribute, value string) bool {
	var b strings.Builder // browsers skip these characters
	for _, r := range value {
		if r > ' ' {
			b.WriteRune(r)
		}
	}
	scheme, rest, found := strings.Cut(strings.ToLower(b.String()), ":")
	if !found || strings.ContainsAny(scheme, "/?#") {
		return true
	}
	switch scheme {
	case "http", "https", "mailto", "tel", "urn":
		return true
	case "data":
		for _, kind := range []string{"image/png", "image/gif", "image/jpeg", "image/bmp", "image/webp"} {
			if attribute == "src" && strings.HasPrefix(rest, kind) {
				return true
			}
		}
	}
	return false
}

func safeStyle(value string) bool {
	value = strings.ToLower(value)
	for _, bad := range []string{"url(", "expression", "javascript:", "@import", "behavior", "-moz-binding", "\\", "/*"} {
		if strings.Contains(value, bad) {
			return false
		}
	}
	return true
}
