package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"mypatients/fhir/store"
)

// readTo takes up the links of all segments that may name records up to a key.
func (v *verifier) readTo(ctx context.Context, r store.Reader, key string) error {
	for _, c := range v.chains {
		if key[0] != '~' && c.id[:min(timeLen, len(c.id))] > key {
			break // it began later
		}
		for !c.over {
			if err := ctx.Err(); err != nil {
				return err
			}
			if c.next == nil {
				if err := v.readNext(r, c); err != nil {
					return err
				}
				continue
			}
			if len(c.next.Keys) > 0 && slices.Min(c.next.Keys) > key && key[0] != '~' {
				break
			}
			k := c.next
			c.next = nil
			if err := v.takeUp(r, c, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// readNext reads the link that follows, and compares it with the one before.
func (v *verifier) readNext(r store.Reader, c *chain) error {
	if c.head != nil && c.head.MAC != nil && c.n >= c.head.N {
		c.over = true
		return nil
	}
	n := c.n + 1
	k, mac, err := v.log.readLink(r, c.id, n)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return v.skipGap(r, c, n)
	case errors.Is(err, errMAC):
		v.damage(timeOf(c.id), linkName(c.id, n), "this link was changed")
		c.n, c.mac = n, nil
		return nil
	case err != nil:
		return fmt.Errorf("audit: link %s: %w", linkName(c.id, n), err)
	}
	if k.N != n || n > 1 && c.mac != nil && !same(k.Before, c.mac) {
		v.damage(k.At, linkName(c.id, n), "this link does not follow on the one before")
	}
	c.n, c.mac, c.next = n, mac, &k
	return nil
}

// skipGap goes on behind links that are missing; there is one between the last and
// the end.
func (v *verifier) skipGap(r store.Reader, c *chain, n uint64) error {
	page, err := r.Records(kindLink, c.id+"/", linkKey(c.id, n), 1)
	if err != nil {
		return err
	}
	if len(page) == 0 {
		c.over = true
		return nil // whether it may end here was seen when taking stock
	}
	v.damage(timeOf(c.id), linkName(c.id, n), "this link is missing")
	var next uint64
	if _, err := fmt.Sscanf(page[0].Key[len(c.id)+1:], "%x", &next); err != nil || next <= n {
		c.over = true
		return nil
	}
	c.n, c.mac = next-1, nil
	return nil
}

// takeUp expects the records that a link names, and looks for the links that it
// refers to.
func (v *verifier) takeUp(r store.Reader, c *chain, k *link) error {
	v.report.Links++
	for _, h := range k.Heads {
		_, mac, err := v.log.readLink(r, h.Segment, h.N)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errMAC) {
			return err
		}
		if err != nil || !same(mac, h.MAC) {
			v.damage(timeOf(h.Segment), linkName(h.Segment, h.N), "link %s refers to this one, which is missing or another", linkName(c.id, k.N))
		}
		for _, other := range v.chains {
			if other.id == h.Segment && h.End != "" {
				other.met = true
			}
		}
	}
	if _, err := r.Record(kindLinked, linkedKey(k.At, c.id, k.N)); errors.Is(err, store.ErrNotFound) {
		v.damage(k.At, linkName(c.id, k.N), "what leads to this link by its time is missing")
	} else if err != nil {
		return err
	}
	for _, key := range k.Unsure {
		v.unsure[key] = true
	}
	if len(k.Keys) == 0 {
		return nil
	}
	in := &named{segment: c.id, link: *k, macs: make([][]byte, len(k.Keys)), who: make([]map[string]rows, len(k.Keys)), newest: slices.Max(k.Keys)}
	for i, key := range k.Keys {
		if timeOf(key) < v.since {
			in.partly = true
			continue
		}
		if _, twice := v.want[key]; twice {
			v.damage(timeOf(key), key, "two links name this record")
			continue
		}
		in.missing++
		v.want[key] = place{in, i}
	}
	return v.fromLoose(r, in)
}

// fromLoose meets the records of a link that came before it.
func (v *verifier) fromLoose(r store.Reader, in *named) error {
	v.open = append(v.open, in)
	for _, key := range in.Keys {
		if _, ok := v.loose[key]; !ok {
			continue
		}
		delete(v.loose, key)
		rec, err := r.Record(kindRecord, key)
		if err != nil {
			return err
		}
		body, mac, err := v.log.unsealed(rec)
		if err != nil {
			v.meet(key, nil, nil)
			continue
		}
		_, entries, err := unpack(body)
		if err != nil {
			return err
		}
		v.meet(key, mac, entries)
	}
	return nil
}

// passed judges the links whose records have all been gone by.
func (v *verifier) passed(r store.Reader, key string) error {
	for _, in := range v.open {
		if in.newest > key {
			continue
		}
		if in.missing > 0 {
			for _, k := range in.Keys {
				if p, ok := v.want[k]; ok && p.in == in {
					v.damage(timeOf(k), k, "this record is missing; link %s names it", linkName(in.segment, in.N))
					delete(v.want, k)
				}
			}
			continue
		}
		if in.partly {
			continue
		}
		if !same(sumOf(in.macs), in.Sum) {
			v.damage(in.At, linkName(in.segment, in.N), "the records that this link names are not those that it was made from")
		}
		if err := v.whoRows(r, in); err != nil {
			return err
		}
	}
	v.open = slices.DeleteFunc(v.open, func(in *named) bool { return in.newest <= key })
	return nil
}

// whoRows looks for what leads to the entries of a link from those who acted.
func (v *verifier) whoRows(r store.Reader, in *named) error {
	who := map[string]rows{}
	for _, of := range in.who {
		addWho(who, of)
	}
	keys := make([]string, 0, len(who))
	for name := range who {
		keys = append(keys, whoKey(name, in.At, in.segment, in.N))
	}
	if err := store.ReadRecords(r, kindWho, slices.Values(keys)); err != nil {
		return err
	}
	for name, want := range who {
		rec, err := r.Record(kindWho, whoKey(name, in.At, in.segment, in.N))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err != nil || !bytes.Equal(rec.Value, want) {
			v.damage(in.At, linkName(in.segment, in.N), "what leads to the entries of this link by who acted is missing or changed")
		}
	}
	return nil
}
