package fhir_test

import (
	"strings"
	"testing"

	"mypatients/fhir"
)

func TestParseBundle(t *testing.T) {
	b, err := fhir.ParseBundle([]byte(` {"resourceType" : "Bundle", "id":"x", "_id":{"extension":[]}, "type":"batch","entry":[
		{"fullUrl":"urn:uuid:1","resource": {"resourceType":"Patient", "active" : true} ,"request":{"method":"PUT","url":"Patient/1","ifMatch":"W/\"1\"","ifNoneMatch":"*","ifModifiedSince":"2020","ifNoneExist":"a=b"}},
		{"search":{"mode":"match"},"link":[],"request":{"id":"r","method":"GET","url":"Patient"}}]} `))
	if err != nil || b.Type != "batch" || len(b.Entries) != 2 {
		t.Fatalf("got %+v, %v", b, err)
	}
	e := b.Entries[0]
	if string(e.Resource) != `{"resourceType":"Patient", "active" : true}` || e.FullURL != "urn:uuid:1" || e.Method != "PUT" || e.URL != "Patient/1" ||
		e.IfMatch != `W/"1"` || e.IfNoneMatch != "*" || e.IfModifiedSince != "2020" || e.IfNoneExist != "a=b" {
		t.Errorf("got %+v", e)
	}
	if e := b.Entries[1]; e.Resource != nil || e.Method != "GET" {
		t.Errorf("got %+v", e)
	}
}

func FuzzParseBundle(f *testing.F) {
	f.Add(`{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"a":[1,"\u0041"]},"request":{"method":"GET","url":"x"}}]}`)
	f.Add(`{"resourceType":"Bundle","entry":[{}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		b, err := fhir.ParseBundle([]byte(body))
		if err != nil {
			if fhir.KindOf(err) != fhir.Invalid {
				t.Fatal(err)
			}
			return
		}
		for _, e := range b.Entries {
			if e.Resource != nil && (e.Resource[0] != '{' || !strings.Contains(body, string(e.Resource))) {
				t.Errorf("%s: got %s", body, e.Resource)
			}
		}
	})
}

func FuzzLinks(f *testing.F) {
	f.Add(`{"resourceType":"Patient","link":[{"other":{"reference":"Patient/1"}}],"text":{"div":"<div/>"},"_id":{"extension":[{"url":"x","valueUri":"y"}]}}`)
	f.Add(`{"resourceType":"Patient","contained":[{"resourceType":"Patient","photo":[{"url":"z"}]}],"photo":{"url":["x"]}}`)
	f.Fuzz(func(t *testing.T, body string) {
		compact, err := fhir.Compact([]byte(body))
		if err != nil {
			return
		}
		last := 0
		for link := range fhir.Links(compact) {
			if link.Start < last || link.End <= link.Start || compact[link.Start] != '"' {
				t.Fatalf("%s: %+v", compact, link)
			}
			last = link.End
			_ = link.Value()
		}
	})
}
