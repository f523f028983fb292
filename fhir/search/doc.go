// Package search turns resources into index terms and query strings into
// queries over those terms. It owns the registry of R4 search parameters
// (https://hl7.org/fhir/R4/searchparameter-registry.html) and the layout of
// the terms; nobody else needs to know either. It knows nothing of people,
// storage engines or HTTP.
//
// Start with [R4]; [Registry.With] adds parameters of one's own. [Registry.Index]
// gives the terms of a resource to store; [Registry.Parse] reads a query, or
// [Registry.ParseSystem] one of several types, and [Query.PlanWith] makes of it, and
// of what the caller may see, a [store.Query].
// [TokenTerm], [ReferenceTerm], [DateOverlaps] and their like write single
// conditions for those who have no query string.
//
// # Terms
//
// One term is one posting in the store, so there are few and they are short.
// Under the name of a parameter, "name" below, stand:
//
//	string     folded text, \x01, the text itself where it differs
//	token      name   code          a code, whatever its system
//	           name|  system|code   system is empty when the code has none
//	           name:text            folded texts of the concept, joined by \x02
//	           name:of-type         system|code|value of an identifier with a type
//	reference  Type/id, or a URL    references to this server are made relative
//	           name:identifier, name:identifier|   the identifier, as a token
//	uri        the URI
//	date       start and end, ten characters each, see [DateOverlaps]
//	number     an order-preserving form of the decimal
//	quantity   name   the number    whatever its unit
//	           name|  c measure, u code, o unit or s system|code, \x01, the number
//	near       latitude and longitude, ten characters each
//	composite  the forms of the components, joined by \x01
//
// A code element (status, gender) has a system only by its binding; it is one
// term, its code, and a query with the right system finds it. A parameter whose
// expression is the union of other parameters' expressions (combo-code, phonetic),
// or whose composite spans the resource itself (code-value-quantity), has no terms:
// a query for it is put together from theirs. References always have their own. A
// bar in a system is written %7C.
//
// Besides: [store.Owner] (see [Registry.Index]) and [Clinical].
//
// # How the datatype of an element is known
//
// Resources are validated before they come here, so the kind of the parameter
// and the shape of the JSON tell the datatype: under a token parameter an object
// with "coding" is a CodeableConcept, one with "code" a Coding, one with "value"
// an Identifier or a ContactPoint, a string is a code; under a date parameter a
// string is a date, a dateTime or an instant, an object with "event" or "repeat"
// a Timing, any other a Period; under a quantity parameter "low" and "high" make
// a Range, "currency" a Money. For choice elements (value[x]) the list of types
// that R4 allows gives the names to look for.
//
// # What is looked up in other resources
//
// _list, :in and :not-in, and :above and :below on tokens and references depend on
// what stands in Lists, ValueSets, CodeSystems and hierarchies. The plan looks it
// up with [Sources.Find], under the sight of the caller: what may not be seen is
// not there. A value set is its expansion when it has a whole one, else what its
// compose says: codes, other value sets, whole systems, and the filters is-a,
// descendent-of, is-not-a, generalizes, =, in and not-in on the codes of a complete
// CodeSystem. What is not stored may come with the program ([Sources.Packaged]). A system that is not on the server stands for all codes that name it.
// Otherwise the parameter is refused, and the text says what is missing. :above and
// :below on references follow partOf (Location, Organization and others); on a
// canonical URL its versions: 2 is above 2.1.
//
// # Units
//
// A table, units.tsv, tells which units are of one measure, so that 1 g finds 1000 mg
// and 90 mg/dL finds 0.9 g/L: metric units of mass, volume, length, time, substance
// and the like, alone or divided by others, by exact decimals. It is not UCUM: units
// that are not in it (Cel, [degF], mL/min/{1.73_m2}) are compared as written. Of
// libraries for UCUM in Go, iimos/ucum and wintermute-cds/ucum were looked at: neither
// could be had as a module, and the second is of 2019 and used by nobody.
//
// # Words
//
// _text and _content need a term for every word. Over 7,000 records as Synthea makes
// them that is 86 terms a resource in place of 47, and 1.8 times the time to index it;
// so they are there only with [Registry.WithText], and refused by name without.
//
// # Adding parameters
//
// [ReadDefinition] reads a SearchParameter resource, [Registry.With] adds it; what is
// stored must then be indexed again. Until it is, [Registry.Holding] refuses to search
// by it: a parameter that finds only a part is worse than none.
//
// # Refusals
//
// What is unknown is refused, never ignored, unless the caller asked for
// leniency: an ignored parameter widens the answer. Every refusal is a
// [fhir.Error] of kind Invalid whose issue names the parameter in Expression as
// "http.name", the form that https://hl7.org/fhir/R4/operationoutcome.html
// gives for HTTP parameters.
//
// # Differences from the specification
//
//   - Dates and times without a zone are of the zone of [Registry.In], in resources and
//     queries.
//   - A number without a prefix stands for all that round to its last digit as it is
//     written: 100 for 99.5 to 100.5, 1e2 for 50 to 150.
//   - A quantity's comparator ("<5") is not weighed; a Range counts as its two ends,
//     SampledData as its lower and upper limit.
//   - string: texts are indexed up to 400 bytes; :contains does not look further.
//   - token:text matches anywhere in the text, not only at its beginning.
//   - Components of a composite other than the last match exactly, without prefixes,
//     unless the composite spans the resource itself.
//   - near finds what is within the distance of a point on a globe, 50 km when none is
//     given; what is nearer to the edge than a hundredth of it may count in or out.
//     altitude is not looked at.
//   - _text and _content take words, all of which must be there; there are no operators.
//   - Entries of a List that are marked as deleted are members like others.
//   - Not supported, and refused by name: _filter, _query, _contained but for false, the
//     functional lists ($current-problems), composites among added parameters.
//   - References to contained resources are indexed as they are; chains do not follow
//     them, nor into the entries of a Bundle (composition, message).
//   - Includes follow canonical URLs, of which all versions count when none is named;
//     chains and _has do not.
//   - Sorting takes the parameters' own terms: dates by their start (then their end),
//     strings folded (then as written), quantities by number whatever the unit, tokens by code.
package search

//go:generate go run generate.go -definitions $R4_DEFINITIONS
