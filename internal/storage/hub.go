// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// hub is a repository of models in the Hugging Face Hub.
type hub struct {
	*client
	endpoint, repository, revision string
}

const defaultHub = "https://huggingface.co"

// openHub opens hf://<organisation>/<model>[:<revision>].
func openHub(rest string, env Environment) (Source, error) {
	repository, revision, _ := strings.Cut(rest, ":")
	repository = strings.Trim(repository, "/")
	if strings.Count(repository, "/") != 1 {
		return nil, invalid("hf://"+rest, "it names no repository; write hf://<organisation>/<model> or hf://<organisation>/<model>:<revision>")
	}
	source := &hub{
		client: newClient(trust{}), endpoint: strings.TrimSuffix(cmp.Or(env("HF_ENDPOINT"), defaultHub), "/"),
		repository: repository, revision: cmp.Or(revision, "main"),
	}
	if _, err := addressOf(source.endpoint); err != nil {
		return nil, badSetting("hf://"+rest, "write https://host", "HF_ENDPOINT %q is not an address: %w", source.endpoint, err)
	}
	// Like the Hub's own client, without the line break at the end that a secret often has.
	if token := strings.TrimSpace(cmp.Or(env("HF_TOKEN"), env("HUGGING_FACE_HUB_TOKEN"))); token != "" {
		if strings.ContainsFunc(token, unicode.IsSpace) {
			return nil, badSetting("hf://"+rest, "correct it in the secret", "HF_TOKEN has a space or a line break in it")
		}
		source.header.Set("Authorization", "Bearer "+token)
	}
	return source, nil
}

func (h *hub) uri() string { return "hf://" + h.repository + ":" + h.revision }

// entry is one of the Hub's answers about the content of a repository.
type entry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"`
	LFS  *struct {
		OID  string `json:"oid"` // SHA-256, in hexadecimal digits.
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// List implements [Source]. A branch is pinned to its commit first, so that all
// files are of one.
func (h *hub) List(ctx context.Context) ([]Object, error) {
	var commit struct {
		SHA string `json:"sha"`
	}
	if _, err := h.get(ctx, h.api("revision", h.revision), &commit); err != nil {
		return nil, fail(h.uri(), err)
	}
	h.revision = cmp.Or(commit.SHA, h.revision)
	var objects []Object
	seen := map[string]bool{}
	for page := h.api("tree", h.revision) + "?recursive=true"; page != ""; {
		if seen[page] {
			return nil, fail(h.uri(), errors.New("the pages of the list of files lead in a circle"))
		}
		seen[page] = true
		var entries []entry
		next, err := h.get(ctx, page, &entries)
		if err != nil {
			return nil, fail(h.uri(), err)
		}
		for _, e := range entries {
			if e.Type == "file" {
				objects = append(objects, h.object(e))
			}
		}
		page = next
	}
	return objects, nil
}

func (h *hub) object(e entry) Object {
	object := Object{Name: e.Path, Key: e.Path, Size: e.Size, Version: e.OID} // Of the content: it stays as it is in the next commit.
	if e.LFS != nil {
		object.Size = e.LFS.Size
		if sum, err := hex.DecodeString(e.LFS.OID); err == nil {
			object.Sum = Checksum{SHA256, sum}
		}
	}
	return object
}

func (h *hub) api(what, revision string) string {
	return h.endpoint + "/api/models/" + h.repository + "/" + what + "/" + url.PathEscape(revision)
}

var nextLink = regexp.MustCompile(`<([^>]+)>;\s*rel="next"`)

// get reads an answer in JSON, and returns the address of the next page, if there
// is one. That address is the server's to choose: if it is of another server, the
// token does not go there.
func (h *hub) get(ctx context.Context, address string, into any) (next string, err error) {
	page, err := addressOf(address)
	if err != nil {
		return "", err
	}
	client := h.client
	if endpoint, err := addressOf(h.endpoint); err != nil || originOf(page) != originOf(endpoint) {
		client = client.withoutHeaders()
	}
	answer, err := client.do(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if match := nextLink.FindStringSubmatch(answer.Header.Get("Link")); match != nil {
		link, err := page.Parse(match[1])
		if err != nil {
			return "", err
		}
		next = link.String()
	}
	return next, json.NewDecoder(io.LimitReader(answer.Body, maxListing)).Decode(into)
}

// Read implements [Source]. The content of a commit does not change; the Hub tells
// of no tag of the server behind it.
func (h *hub) Read(ctx context.Context, object Object, offset, length int64) (io.ReadCloser, error) {
	segments := strings.Split(object.Key, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	address := h.endpoint + "/" + h.repository + "/resolve/" + h.revision + "/" + strings.Join(segments, "/")
	return h.read(ctx, address, object, offset, length)
}
