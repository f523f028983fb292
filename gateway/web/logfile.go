package web

import (
	"bytes"
	"encoding/csv"
	"net/http"
	"strings"
	"time"

	"mypatients/consent"
)

// A file is an answer that the browser keeps.
type file struct {
	name, mediaType string
	body            []byte
}

// logColumns are the columns of the log as a file.
var logColumns = []string{"time", "person", "name", "role", "app", "app id", "address", "action", "type", "outcome", "patients", "reasons", "returned", "about", "request"}

// logFile answers with what a search finds, as a table for a spreadsheet.
func (v *visit) logFile(q consent.AuditQuery) error {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	_ = out.Write(logColumns) // errors of the writer come from Error
	more, err := v.site.Guard.ExportFound(v.ctx, v.caller(), q, func(row consent.AuditRow) error {
		return out.Write(logLine(row))
	})
	if err != nil {
		return err
	}
	if more {
		_ = out.Write([]string{"There are more. Search for fewer days."})
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return err
	}
	v.reply = reply{status: http.StatusOK, file: &file{"log.csv", "text/csv; charset=utf-8", b.Bytes()}}
	return nil
}

func logLine(row consent.AuditRow) []string {
	var reasons []string
	for _, patient := range row.Patients {
		for _, basis := range row.Bases[patient] {
			reasons = append(reasons, patient+" "+basis)
		}
	}
	line := []string{row.When.UTC().Format(time.RFC3339), row.Person, row.Name, string(row.Role), row.Client, row.ClientID, row.Address, row.Action, string(row.Type), row.Outcome,
		strings.Join(row.Patients, " "), strings.Join(reasons, "; "), strings.Join(row.Returned, " "), row.Detail, row.Request}
	for i, cell := range line {
		line[i] = harmless(cell)
	}
	return line
}

// harmless keeps a cell from being a formula: names come from outside.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
