package rest

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

const (
	fhirJSON  = "application/fhir+json"
	plainJSON = "application/json"
)

// negotiate settles the media type of the answer: _format before Accept
// (https://hl7.org/fhir/R4/http.html#mime-type).
func (q *request) negotiate() error {
	q.media = fhirJSON
	if q.format != "" {
		// An unescaped plus sign arrives as a space.
		switch f := strings.ReplaceAll(q.format, " ", "+"); f {
		case "json", fhirJSON, plainJSON:
			return nil
		default:
			if media, ok := accepts(f); ok {
				q.media = media
				return nil
			}
		}
		return refuse(http.StatusNotAcceptable, "not-supported", "Only JSON is spoken here: _format may be json.")
	}
	headers := q.Request.Header.Values("Accept")
	if len(headers) == 0 {
		return nil
	}
	best := 0.0
	for _, header := range headers {
		for part := range strings.SplitSeq(header, ",") {
			if media, ok := accepts(part); ok {
				if weight := quality(part); weight > best {
					best, q.media = weight, media
				}
			}
		}
	}
	if best == 0 {
		return refuse(http.StatusNotAcceptable, "not-supported", "Only "+fhirJSON+" is spoken here.")
	}
	return nil
}

// accepts gives the media type with which one range of an Accept header is met.
func accepts(part string) (string, bool) {
	part = strings.TrimSpace(part)
	if part == fhirJSON || part == "*/*" { // what nearly all send
		return fhirJSON, true
	}
	media, params, err := mime.ParseMediaType(part)
	if err != nil {
		return "", false
	}
	if v := params["fhirversion"]; v != "" && v != "4.0" {
		return "", false
	}
	switch media {
	case fhirJSON, "*/*", "application/*":
		return fhirJSON, true
	case plainJSON:
		return plainJSON, true
	}
	return "", false
}

// quality gives the weight of one range (RFC 9110 section 12.4.2).
func quality(part string) float64 {
	_, params, err := mime.ParseMediaType(part)
	if err != nil || params["q"] == "" {
		return 1
	}
	q, err := strconv.ParseFloat(params["q"], 64)
	if err != nil || q < 0 || q > 1 {
		return 0
	}
	return q
}
