package authserver

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"mypatients/smart"
)

// The value of an access token's record: what a request needs, in an order and
// in lengths, so that the hot path neither parses text nor looks anything up.
// The first byte is the version of the layout.
const grantLayout = 1

// Flags of a layout 1 value.
const (
	flagEHR = 1 << iota
	flagBanner
	flagBannerYes
	flagFHIRContext
	flagAuth
)

// encodeGrant writes a grant. Expires is the record's own.
func encodeGrant(g smart.Grant, ehr bool) []byte {
	b := make([]byte, 0, 512)
	flags := byte(0)
	if ehr {
		flags |= flagEHR
	}
	if g.Launch.NeedPatientBanner != nil {
		flags |= flagBanner
		if *g.Launch.NeedPatientBanner {
			flags |= flagBannerYes
		}
	}
	if len(g.Launch.FHIRContext) > 0 {
		flags |= flagFHIRContext
	}
	if !g.AuthTime.IsZero() {
		flags |= flagAuth
	}
	b = append(b, grantLayout, flags)
	id := g.Identity
	for _, s := range []string{g.ID, g.ClientID, g.ClientName, id.Login, id.Name, string(id.Role), id.FHIRUser,
		g.Launch.Patient, g.Launch.Encounter, g.Launch.Intent} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(id.Persons)))
	for _, p := range id.Persons {
		b = appendString(b, p)
	}
	b = binary.AppendUvarint(b, uint64(len(g.Scopes)))
	for _, s := range g.Scopes {
		v1 := byte(0)
		if s.V1 {
			v1 = 1
		}
		b = append(b, byte(s.May), v1)
		b = appendString(b, s.Level)
		b = appendString(b, s.Type)
		b = appendString(b, s.String())
		b = appendString(b, url.Values(s.Params).Encode())
	}
	if flags&flagFHIRContext != 0 {
		related, _ := json.Marshal(g.Launch.FHIRContext) // strings only: cannot fail
		b = appendString(b, string(related))
	}
	if flags&flagAuth != 0 {
		b = binary.AppendUvarint(b, uint64(max(g.AuthTime.Unix(), 0)))
		b = appendString(b, g.ACR)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeGrant reads what encodeGrant wrote.
func decodeGrant(value []byte) (g smart.Grant, ehr bool, err error) {
	bad := errors.New("authserver: a token record does not decode")
	d := decoder{s: string(value)}
	if d.byte() != grantLayout {
		return smart.Grant{}, false, bad
	}
	flags := d.byte()
	g.ID, g.ClientID, g.ClientName = d.string(), d.string(), d.string()
	g.Identity.Login, g.Identity.Name = d.string(), d.string()
	g.Identity.Role, g.Identity.FHIRUser = smart.Role(d.string()), d.string()
	g.Launch.Patient, g.Launch.Encounter, g.Launch.Intent = d.string(), d.string(), d.string()
	if n := d.count(); n > 0 {
		g.Identity.Persons = make([]string, n)
		for i := range g.Identity.Persons {
			g.Identity.Persons[i] = d.string()
		}
	}
	if n := d.count(); n > 0 {
		g.Scopes = make(smart.Scopes, n)
		for i := range g.Scopes {
			s := &g.Scopes[i]
			s.May, s.V1 = smart.Permission(d.byte()), d.byte() == 1
			s.Level, s.Type, s.Text = d.string(), d.string(), d.string()
			if params := d.string(); params != "" {
				if s.Params, err = url.ParseQuery(params); err != nil {
					return smart.Grant{}, false, bad
				}
			}
		}
	}
	if flags&flagBanner != 0 {
		yes := flags&flagBannerYes != 0
		g.Launch.NeedPatientBanner = &yes
	}
	if flags&flagFHIRContext != 0 {
		if err := json.Unmarshal([]byte(d.string()), &g.Launch.FHIRContext); err != nil {
			return smart.Grant{}, false, bad
		}
	}
	if flags&flagAuth != 0 {
		g.AuthTime, g.ACR = time.Unix(int64(d.uvarint()), 0).UTC(), d.string()
	}
	if d.failed || d.s != "" {
		return smart.Grant{}, false, bad
	}
	return g, flags&flagEHR != 0, nil
}

// A decoder takes values from the front of a string; all it gives are parts of
// that one string.
type decoder struct {
	s      string
	failed bool
}

func (d *decoder) byte() byte {
	if d.s == "" {
		d.failed = true
		return 0
	}
	b := d.s[0]
	d.s = d.s[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	var n uint64
	for shift := 0; shift < 35; shift += 7 {
		b := d.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	d.failed = true
	return 0
}

// count reads how many items follow; each takes at least one byte.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.s)) {
		d.failed = true
		return 0
	}
	return int(n)
}

func (d *decoder) string() string {
	n := d.count()
	s := d.s[:n]
	d.s = d.s[n:]
	return s
}

// seconds is a duration as clients are told it.
func seconds(d time.Duration) int { return int(d / time.Second) }
