package fhir_test

import (
	"fmt"
	"strings"

	"mypatients/fhir"
)

const narrative = `"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">%s</div>"}`

func patient(members string) string { return `{"resourceType":"Patient",` + members + `}` }

func observation(members string) string {
	return `{"resourceType":"Observation","status":"final","code":{"text":"x"},` + members + `}`
}

func text(inner string) string { return patient(fmt.Sprintf(narrative, inner)) }

// refusals are bad bodies, the kind of error they must get, and the elements that
// its issues must name, in order.
var refusals = []struct {
	name, body string
	kind       fhir.Kind
	elements   string // of the issues, in order
}{
	{"nothing", ``, fhir.Invalid, ""},
	{"not JSON", `<Patient/>`, fhir.Invalid, ""},
	{"an array", `[]`, fhir.Invalid, ""},
	{"null", `null`, fhir.Invalid, ""},
	{"cut off", `{"resourceType":"Patient","name":[{"family":"x"`, fhir.Invalid, "name[0]"},
	{"something behind it", patient(`"active":true`) + `{}`, fhir.Invalid, ""},
	{"no type", `{"id":"1"}`, fhir.Invalid, "resourceType"},
	{"unknown type", `{"resourceType":"Patent"}`, fhir.Invalid, "resourceType"},
	{"abstract type", `{"resourceType":"DomainResource"}`, fhir.Invalid, "resourceType"},
	{"broken UTF-8", patient("\"id\":\"a\xffb\""), fhir.Invalid, "id"},
	{"half a surrogate pair", patient(`"id":"\ud800"`), fhir.Invalid, "id"},
	{"NUL", patient(`"language":"a\u0000"`), fhir.Invalid, "Patient.language"},
	{"duplicate name", patient(`"id":"a","id":"b"`), fhir.Invalid, "id"},
	{"duplicate below", observation(`"subject":{"reference":"Patient/1","reference":"Patient/2"}`), fhir.Invalid, "subject.reference"},
	{"duplicate by another case", observation(`"subject":{"reference":"Patient/1","Reference":"Patient/2"}`), fhir.Invalid, "Observation.subject"},
	{"wrong case", patient(`"BirthDate":"2000-01-01"`), fhir.Invalid, "Patient"},
	{"wrong case of an extension", patient(`"_BirthDate":{"id":"x"}`), fhir.Invalid, "Patient"},
	{"wrong case inside", patient(`"birthdate":"2000-01-01"`), fhir.Invalid, "Patient"},
	{"choice in wrong case", observation(`"valuestring":"x"`), fhir.Invalid, "Observation"},
	{"escaped name", patient(`"\u0069d":"x"`), fhir.Invalid, "Patient"},
	{"empty string", patient(`"id":""`), fhir.Invalid, "Patient.id"},
	{"empty array and object", patient(`"name":[],"contact":[{}]`), fhir.Invalid, "Patient.contact[0] Patient.name"},
	{"null value", patient(`"birthDate":null`), fhir.Invalid, "Patient.birthDate"},
	{"null in an array", patient(`"name":[{"given":["a",null]}]`), fhir.Invalid, "Patient.name[0].given[1]"},
	{"null in an array of objects", patient(`"name":[null]`), fhir.Invalid, "Patient.name[0]"},
	{"too few extensions", patient(`"name":[{"given":["a","b"],"_given":[{"id":"x"}]}]`), fhir.Invalid, "Patient.name[0].given"},
	{"nested too deep", patient(`"extension":[` + strings.Repeat(`{"url":"http://x","extension":[`, 30) + strings.Repeat(`]}`, 30) + `]`), fhir.Invalid, "deep"},
	{"nested far too deep", `{"a":` + strings.Repeat("[", 100_000), fhir.Invalid, "deep"},
	{"huge number", observation(`"valueQuantity":{"value":1e999999999}`), fhir.Invalid, "Observation.valueQuantity.value"},
	{"oversized", `{"resourceType":"Patient","id":"` + strings.Repeat("x", fhir.MaxBody) + `"}`, fhir.TooBig, ""},

	{"unknown element", patient(`"shoeSize":42`), fhir.Invalid, "Patient"},
	{"unknown element inside", patient(`"contact":[{"name":{"nick":"x"}}]`), fhir.Invalid, "Patient.contact[0].name"},
	{"field of the proto", observation(`"subject":{"patientId":"1"}`), fhir.Invalid, "Observation.subject"},
	{"object for array", patient(`"name":{"family":"x"}`), fhir.Invalid, "Patient.name"},
	{"array for object", observation(`"subject":[{"display":"x"}]`), fhir.Invalid, "Observation.subject"},
	{"object for primitive", patient(`"birthDate":{"extension":[{"url":"http://x","valueString":"u"}]}`), fhir.Invalid, "Patient.birthDate"},
	{"string for boolean", patient(`"active":"true"`), fhir.Invalid, "Patient.active"},
	{"string for number", observation(`"valueQuantity":{"value":"1"}`), fhir.Invalid, "Observation.value.value"},
	{"number for string", patient(`"id":1`), fhir.Invalid, "Patient.id"},
	{"fraction for integer", patient(`"multipleBirthInteger":1.5`), fhir.Invalid, "Patient.multipleBirth"},
	{"integer too large", patient(`"multipleBirthInteger":99999999999`), fhir.Invalid, "Patient.multipleBirth"},
	{"bad date", patient(`"birthDate":"1.2.2000"`), fhir.Invalid, "Patient.birthDate"},
	{"no such day", patient(`"birthDate":"2001-02-29"`), fhir.Invalid, "Patient.birthDate"},
	{"bad dateTime", observation(`"effectiveDateTime":"2020-01-01T10:00"`), fhir.Invalid, "Observation.effective"},
	{"bad base64", patient(`"photo":[{"data":"***"}]`), fhir.Invalid, "Patient.photo[0].data"},
	{"two types of one element", observation(`"valueString":"x","valueInteger":1`), fhir.Invalid, "Observation.value"},
	{"code that is none", patient(`"gender":"mail"`), fhir.Unprocessable, "Patient.gender"},
	{"code in wrong case", patient(`"gender":"MALE"`), fhir.Unprocessable, "Patient.gender"},
	{"required element missing", `{"resourceType":"Observation","status":"final"}`, fhir.Unprocessable, "Observation.code"},
	{"bad id", patient(`"id":"a b"`), fhir.Unprocessable, "Patient.id"},
	{"long id", patient(`"id":"` + strings.Repeat("x", 65) + `"`), fhir.Unprocessable, "Patient.id"},

	{"reference to a wrong type", observation(`"subject":{"reference":"Observation/1"}`), fhir.Unprocessable, "Observation.subject.reference"},
	{"absolute reference to a wrong type", observation(`"subject":{"reference":"https://x.org/fhir/Observation/1/_history/2"}`), fhir.Unprocessable, "Observation.subject.reference"},
	{"reference to no type", observation(`"subject":{"reference":"Pat/1"}`), fhir.Unprocessable, "Observation.subject.reference"},
	{"reference to a bad id", observation(`"subject":{"reference":"Patient/a b"}`), fhir.Unprocessable, "Observation.subject.reference"},
	{"dangling fragment", observation(`"subject":{"reference":"#p"}`), fhir.Unprocessable, "Observation.subject.reference"},
	{"fragment of a wrong type", observation(`"contained":[{"resourceType":"Medication","id":"p"}],"subject":{"reference":"#p"}`), fhir.Unprocessable, "Observation.subject.reference"},
	{"conditional reference outside a Bundle", observation(`"subject":{"reference":"Patient?identifier=1"}`), fhir.Unprocessable, "Observation.subject.reference"},

	{"reference by urn: to an entry of a wrong type", `{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Practitioner"}},{"fullUrl":"urn:uuid:2","resource":` + observation(`"subject":{"reference":"urn:uuid:1"}`) + `}]}`, fhir.Unprocessable, "Bundle.entry[1].resource.subject.reference"},
	{"type that is not the reference's", observation(`"subject":{"reference":"Patient/1","type":"Group"}`), fhir.Unprocessable, "Observation.subject.type"},
	{"type that is not allowed, by identifier", observation(`"subject":{"type":"Task","identifier":{"value":"1"}}`), fhir.Unprocessable, "Observation.subject.type"},

	{"fault in a contained resource", patient(`"contained":[{"resourceType":"Organization","id":"o","name":5}]`), fhir.Invalid, "Patient.contained[0].name"},
	{"contained without a type", patient(`"contained":[{"id":"o"}]`), fhir.Invalid, "Patient.contained[0].resourceType"},
	{"contained twice over", patient(`"contained":[{"resourceType":"Patient","id":"o","contained":[{"resourceType":"Patient","id":"q"}]}]`), fhir.Invalid, "Patient.contained[0].contained"},
	{"required binding in a contained resource", patient(`"contained":[{"resourceType":"Patient","id":"o","gender":"x"}]`), fhir.Unprocessable, "Patient.contained[0].gender"},
	{"fault in an entry", `{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Patient","birthDate":"x"}}]}`, fhir.Invalid, "Bundle.entry[0].resource.birthDate"},
	{"missing in an entry", `{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Observation","status":"final"},"request":{"method":"POST"}}]}`, fhir.Unprocessable, "Bundle.entry[0].request.url Bundle.entry[0].resource.code"},
	{"fault in a parameter", `{"resourceType":"Parameters","parameter":[{"name":"a","part":[{"name":"b","resource":{"resourceType":"Patient","gender":"x"}}]}]}`, fhir.Unprocessable, "Parameters.parameter[0].part[0].resource.gender"},

	{"script", text(`<script>x</script>`), fhir.Unprocessable, "Patient.text.div"},
	{"handler", text(`<p onclick='x()'>a</p>`), fhir.Unprocessable, "Patient.text.div"},
	{"frame", text(`<iframe src='https://x'/>`), fhir.Unprocessable, "Patient.text.div"},
	{"form", text(`<form action='https://x'><input/></form>`), fhir.Unprocessable, "Patient.text.div"},
	{"script in a link", text(`<a href='java&#10;script:x()'>a</a>`), fhir.Unprocessable, "Patient.text.div"},
	{"document in an image", text(`<img src='data:image/svg+xml,x'/>`), fhir.Unprocessable, "Patient.text.div"},
	{"style that loads", text(`<p style='background:url(https://x)'>a</p>`), fhir.Unprocessable, "Patient.text.div"},
	{"svg", text(`<svg xmlns='http://www.w3.org/2000/svg'/>`), fhir.Unprocessable, "Patient.text.div"},
	{"not well-formed", text(`<b>`), fhir.Unprocessable, "Patient.text.div"},
	{"two roots", patient(`"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">a</div><div/>"}`), fhir.Unprocessable, "Patient.text.div"},
	{"no namespace", patient(`"text":{"status":"generated","div":"<div>a</div>"}`), fhir.Unprocessable, "Patient.text.div"},
	{"doctype", patient(`"text":{"status":"generated","div":"<!DOCTYPE div><div xmlns=\"http://www.w3.org/1999/xhtml\">a</div>"}`), fhir.Unprocessable, "Patient.text.div"},

	{"faults of JSON beside others", patient(`"name":[],"birthDate":"x","id":"","telecom":[{"value":""}]`), fhir.Invalid, "Patient.birthDate Patient.id Patient.name Patient.telecom[0].value"},
	{"all at once", patient(`"x":1,"birthDate":"x","gender":"MALE","active":"yes","contact":[{"gender":1}],"link":[{"other":{"reference":"Observation/1"}}]`), fhir.Invalid,
		"Patient Patient.active Patient.birthDate Patient.contact[0].gender Patient.gender Patient.link[0].other.reference Patient.link[0].type"},
}
