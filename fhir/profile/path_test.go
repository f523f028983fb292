package profile_test

import (
	"testing"

	"mypatients/fhir/profile"
)

const someone = `{"resourceType":"Patient","active":true,"multipleBirthInteger":2,"birthDate":"2020-02-03",
	"name":[{"family":"a","given":["b","c"],"use":"official"},{"given":["d",null],"_given":[null,{"extension":[{"url":"http://x","valueString":"u"}]}]}],
	"contained":[{"resourceType":"Practitioner","id":"p","identifier":[{"value":"1234567893"}]}],
	"generalPractitioner":[{"reference":"#p"},{"reference":"Organization/1"},{"display":"x"}]}`

func TestExpressions(t *testing.T) {
	for expression, want := range map[string]string{
		"name.given":            "[b c d <nil>]",
		"Patient.name.family":   "[a]",
		"name[1].given.first()": "[d]",
		"name.given.count() = 4 and name.given.exists()":                "[true]",
		"name.where(use = 'official').given.tail()":                     "[c]",
		"name.exists(use = 'old')":                                      "[false]",
		"name.all(given.exists())":                                      "[true]",
		"name.all(family = 'a')":                                        "[]",
		"name.select(given.count())":                                    "[2 2]",
		"name.given.isDistinct()":                                       "[true]",
		"multipleBirth":                                                 "[2]",
		"multipleBirth is integer":                                      "[true]",
		"multipleBirth is Integer and (multipleBirth is boolean).not()": "[true]",
		"multipleBirth.ofType(boolean)":                                 "[]",
		"multipleBirthInteger * 3 + 1 - 2":                              "[5.00000000]",
		"7 div 2 = 3 and 7 mod 4 = 3 and 1 / 2 = 0.5":                   "[true]",
		"1 div 0":                                                       "[]",
		"deceased.empty() and {} ":                                      "error",
		"active and deceased":                                           "[]",
		"active or deceased":                                            "[true]",
		"deceased implies active":                                       "[true]",
		"active.not() implies deceased":                                 "[true]",
		"active xor false":                                              "[true]",
		"active xor deceased":                                           "[]",
		"'b' in name.given and name.given contains 'd'":                 "[true]",
		"deceased in name.given":                                        "[]",
		"(name.given | name.given | 'z').count()":                       "[5]",
		"name.given.intersect('b' | 'x')":                               "[b]",
		"name.family.combine(name.given).count()":                       "[5]",
		"birthDate < '2020-02-04'":                                      "[true]",
		"birthDate.substring(0,4).toInteger() >= 2020":                  "[true]",
		"birthDate.toString().length()":                                 "[10]",
		"birthDate.startsWith('2020') and birthDate.contains('-02-')":   "[true]",
		"birthDate.matches('^[0-9-]+$')":                                "[true]",
		"birthDate.replaceMatches('-.*', '')":                           "[2020]",
		"name.family & 'x' & deceased":                                  "[ax]",
		"name.family + 'x'":                                             "[ax]",
		"name[0].given.hasValue()":                                      "[false]",
		"name[0].family.hasValue() and name[9].family.hasValue().not()": "[true]",
		"name[1].given[1].hasValue()":                                   "[false]",
		"name[1].given[1].extension.value":                              "[u]",
		"generalPractitioner.resolve().where($this is Practitioner).id": "[p]",
		"generalPractitioner.resolve().count()":                         "[2]",
		"iif(active, 'yes', 'no')":                                      "[yes]",
		"iif(deceased, 'yes')":                                          "[]",
		"%resource.name.count() + %context.name.count()":                "[4.00000000]",
		"descendants().where($this is HumanName).count()":               "[2]",
		"children().where($this is Practitioner).exists()":              "[true]",
		"repeat(contained).count()":                                     "[1]",
		"name.select(family = 'a').allTrue()":                           "[true]",
		"name.trace('x').count()":                                       "[2]",
		"name.given = name.given":                                       "[]",
		"name.family != 'b'":                                            "[true]",
		"contained.identifier.value.select(substring(0,1).toInteger())": "[1]",

		"name.":             "error",
		"name.nothing(1)":   "error",
		"name.where(":       "error",
		"'open":             "error",
		"name ? x":          "error",
		"name.matches('(')": "error",
		"%unknown":          "error",
		"name is":           "error",
		"name name":         "error",
		"name[0":            "error",
		"":                  "error",
	} {
		got, err := profile.Evaluate(expression, someone)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: got %s (%v), want %s", expression, got, err, want)
		}
	}
}
