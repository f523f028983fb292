package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"mypatients/config"
	"mypatients/fhir"
	"mypatients/fhir/engine"
)

// appointAdmins gives the configured logins the role of administrator, each with
// a Practitioner of its own to stand for it. Taking a login out of the
// configuration does not take the role away.
func (k *core) appointAdmins(ctx context.Context, admins []config.Person) error {
	for _, admin := range admins {
		sum := sha256.Sum256([]byte(admin.Issuer + "\x00" + admin.Subject))
		key := fhir.Key{Type: "Practitioner", ID: "admin-" + hex.EncodeToString(sum[:12])}
		body, err := k.engine.Prepare([]byte(`{"resourceType":"Practitioner","id":"` + key.ID + `","active":true}`))
		if err != nil {
			return err
		}
		err = k.engine.Update(ctx, func(tx *engine.Tx) error {
			if _, err := tx.Read(key, engine.Everything); fhir.KindOf(err) != fhir.NotFound {
				return err // there already, nil among them
			}
			_, _, err := tx.Update(body, nil)
			return err
		})
		if err != nil {
			return err
		}
		if err := k.guard.Appoint(ctx, admin.Issuer, admin.Subject, key); err != nil {
			return err
		}
	}
	return nil
}
