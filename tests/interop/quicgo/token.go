// The connection token, and the proofs that both ends make of its secret (api/tunnel.md, Token, Proofs).
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	exporterLabel = "EXPORTER-Channel-Binding" // RFC 9266
	exporterBytes = 32
	edgeLabel     = "penstock edge v1"
	hubLabel      = "penstock hub v1"
)

type token struct {
	HubHost string `json:"hubHost"`
	HubPort int    `json:"hubPort"`
	EdgeID  string `json:"edgeId"`
	Secret  string `json:"secret"`
	Pin     string `json:"pin"`
}

func parseToken(text string) (t token, err error) {
	plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return t, errors.New("the token is not base64url")
	}
	if err = json.Unmarshal(plain, &t); err != nil {
		return t, errors.New("the token is not JSON") // never the text: it is a secret
	}
	return t, nil
}

// checkPin says whether this is the hub's certificate; a token without a pin leaves it to the proof.
func (t token) checkPin(state tls.ConnectionState) error {
	if t.Pin == "" {
		return nil
	}
	sum := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
	if base64.RawURLEncoding.EncodeToString(sum[:]) != t.Pin {
		return errors.New("the hub's certificate is not the pinned one")
	}
	return nil
}

// proof binds the secret to this very connection.
func (t token) proof(state tls.ConnectionState, label string) (string, error) {
	exporter, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterBytes)
	if err != nil {
		return "", fmt.Errorf("exporter: %w", err)
	}
	mac := hmac.New(sha256.New, []byte(t.Secret))
	mac.Write([]byte(label))
	mac.Write(exporter)
	mac.Write([]byte(t.EdgeID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}
