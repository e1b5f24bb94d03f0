// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"cloud.google.com/go/compute/metadata"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
)

type statusError struct{ code int }

func (e statusError) Error() string {
	return fmt.Sprintf("the server returned %d %s", e.code, http.StatusText(e.code))
}

type responseError struct {
	status        int
	code, message string
	location      string
	host          string
	// remedy replaces the remedy for the code or status.
	remedy string
}

func (r responseError) Error() string {
	text := statusError{r.status}.Error()
	if r.host != "" {
		text = "after a redirect to " + r.host + ", " + text
	}
	if r.location != "" {
		text += ", which redirects to " + Redacted(r.location)
	}
	isTold := func(part string) bool {
		return part == "" || strings.EqualFold(strings.ReplaceAll(part, " ", ""), strings.ReplaceAll(http.StatusText(r.status), " ", ""))
	}
	if !isTold(r.code) {
		text += " (" + r.code + ")"
	}
	if !isTold(r.message) && r.message != r.code {
		text += ": " + strings.TrimSuffix(r.message, ".") // The sentence continues with the remedy.
	}
	return text
}

func (r responseError) Unwrap() error { return statusError{r.status} }

// responseErrorOf returns the error response of a store, or of the issuer of its credentials.
func responseErrorOf(err error) (responseError, bool) {
	if own, ok := errors.AsType[responseError](err); ok {
		return own, true
	}
	if own, ok := errors.AsType[statusError](err); ok {
		return responseError{status: own.code}, true
	}
	if google, ok := errors.AsType[*googleapi.Error](err); ok {
		respErr := responseError{status: google.Code, message: google.Message, location: google.Header.Get("Location")}
		if len(google.Errors) > 0 {
			respErr.code = google.Errors[0].Reason
		} else { // Errors of list requests are JSON, errors of object reads are XML.
			respErr.code, respErr.message = parseErrorBody(google.Body)
		}
		return respErr, true
	}
	amazon, isAmazon := errors.AsType[*smithyhttp.ResponseError](err)
	if isAmazon && amazon.Response != nil && amazon.HTTPStatusCode() >= http.StatusMultipleChoices {
		respErr := responseError{status: amazon.HTTPStatusCode(), location: amazon.Response.Header.Get("Location")}
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			respErr.code, respErr.message = api.ErrorCode(), strings.TrimSuffix(api.ErrorMessage(), "UnknownError")
		}
		return respErr, true
	}
	if azure, ok := errors.AsType[*azcore.ResponseError](err); ok {
		respErr := responseError{status: azure.StatusCode, code: azure.ErrorCode}
		if azure.RawResponse != nil {
			respErr.location = azure.RawResponse.Header.Get("Location")
		}
		return respErr, true
	}
	return issuerErrorOf(err)
}

var tokenStatus = regexp.MustCompile(`(?s)oauth2/google[\w/]*: status code (\d{3}): (.*)`)

func issuerErrorOf(err error) (responseError, bool) {
	var amazon interface{ HTTPStatusCode() int }
	if errors.As(err, &amazon) && amazon.HTTPStatusCode() >= http.StatusMultipleChoices {
		return responseError{status: amazon.HTTPStatusCode()}, true
	}
	if token, ok := errors.AsType[*oauth2.RetrieveError](err); ok && token.Response != nil {
		return responseError{
			status: token.Response.StatusCode, code: token.ErrorCode, message: cmp.Or(token.ErrorDescription, firstLine(string(token.Body))),
		}, true
	}
	if server, ok := errors.AsType[*metadata.Error](err); ok {
		return responseError{status: server.Code, message: firstLine(server.Message)}, true
	}
	if azure, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok && azure.RawResponse != nil {
		return responseError{status: azure.RawResponse.StatusCode, message: firstLine(azure.Error())}, true
	}
	if match := tokenStatus.FindStringSubmatch(err.Error()); match != nil {
		status, _ := strconv.Atoi(match[1])
		code, message := parseErrorBody(match[2])
		return responseError{status: status, code: code, message: message}, true
	}
	return responseError{}, false
}

func parseErrorBody(body string) (code, message string) {
	var inXML struct {
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
	}
	if xml.Unmarshal([]byte(body), &inXML) == nil && inXML.Code != "" {
		return inXML.Code, firstLine(inXML.Message)
	}
	var inJSON struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
	}
	if json.Unmarshal([]byte(body), &inJSON) != nil {
		return "", firstLine(body)
	}
	var nested struct {
		Message string `json:"message"`
		Status  string `json:"status"`
	}
	if json.Unmarshal(inJSON.Error, &nested) == nil {
		return nested.Status, firstLine(nested.Message)
	}
	if json.Unmarshal(inJSON.Error, &code) != nil || strings.Contains(code, " ") {
		return "", firstLine(cmp.Or(inJSON.Description, code))
	}
	return code, firstLine(inJSON.Description)
}

// firstLine returns at most 200 bytes of the first line, and nothing for an HTML page.
func firstLine(text string) string {
	const maxLength = 200
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if strings.HasPrefix(line, "<") {
		return ""
	}
	return strings.ToValidUTF8(line[:min(len(line), maxLength)], "")
}

func statusOf(err error) int {
	if err == nil {
		return 0
	}
	respErr, _ := responseErrorOf(err)
	return respErr.status
}

// diagnosis is the kind of an error, and a remedy if the kind's advice is too general.
type diagnosis struct {
	kind   Kind
	remedy string
}

const (
	rangeRemedy   = "check the caches and proxies in front of the server; the download is retried"
	againRemedy   = "the download is retried"
	expiredRemedy = "the credentials have expired: renew them in the secret"
	clockRemedy   = "correct the clock of the node: the store compares it with its own"
	billedRemedy  = "the bucket bills its readers: grant the account serviceusage.services.use on a project, or copy the model"
	regionRemedy  = "set the region of the bucket: the annotation serving.kserve.io/s3-region of the secret, or region in storage-config"
)

// codes maps the stores' error codes that are more specific than the HTTP status.
var codes = map[string]diagnosis{
	// S3, and Amazon's issuer of credentials.
	"NoSuchBucket":                       {Missing, "check the bucket in storageUri, and the endpoint"},
	"NoSuchKey":                          {Missing, ""},
	"InvalidBucketName":                  {Invalid, "correct the bucket in storageUri"},
	"AccessDenied":                       {Forbidden, "the credentials are valid, but lack a right: allow them to list and read the objects (in S3: s3:ListBucket, s3:GetObject)"},
	"InvalidAccessKeyId":                 {Forbidden, "the store does not know the access key: correct AWS_ACCESS_KEY_ID in the secret, and check the endpoint"},
	"SignatureDoesNotMatch":              {Forbidden, "the secret key does not belong to the access key: correct AWS_SECRET_ACCESS_KEY in the secret"},
	"ExpiredToken":                       {Forbidden, expiredRemedy},
	"ExpiredTokenException":              {Forbidden, "the token of the ServiceAccount has expired: check that the kubelet renews it, and restart the pod"},
	"TokenRefreshRequired":               {Forbidden, expiredRemedy},
	"RequestExpired":                     {Forbidden, clockRemedy},
	"InvalidToken":                       {Forbidden, "the session token is not valid: correct AWS_SESSION_TOKEN"},
	"InvalidIdentityToken":               {Forbidden, "register the cluster's issuer as an identity provider of the role, and check the role's trust policy"},
	"RequestTimeTooSkewed":               {Forbidden, clockRemedy},
	"AccountProblem":                     {Forbidden, "the account of the store is disabled: ask its administrator"},
	"AllAccessDisabled":                  {Forbidden, "access to the bucket is disabled: ask its administrator"},
	"UserSuspended":                      {Forbidden, "the account of the store is suspended: ask its administrator"},
	"PermanentRedirect":                  {Redirected, regionRemedy + "; or remove the endpoint"},
	"TemporaryRedirect":                  {Redirected, regionRemedy},
	"AuthorizationHeaderMalformed":       {Invalid, regionRemedy},
	"IllegalLocationConstraintException": {Invalid, regionRemedy},
	"InvalidObjectState":                 {Invalid, "the object is archived: restore it, or move it to a class of storage that can be read"},
	"RequestTimeout":                     {Unavailable, againRemedy},
	"IDPCommunicationError":              {Unavailable, againRemedy},
	"Throttling":                         {Unavailable, busyRemedy},
	"ThrottlingException":                {Unavailable, busyRemedy},
	"SlowDown":                           {Unavailable, busyRemedy},

	// Google Cloud Storage, and Google's issuer of tokens.
	"accountDisabled":           {Forbidden, "the account, or the project of the bucket, is disabled: ask its administrator"},
	"userAccountDisabled":       {Forbidden, "the account of the credentials is disabled: ask its administrator"},
	"forbidden":                 {Forbidden, "grant the account of the credentials the role Storage Object Viewer on the bucket"},
	"rateLimitExceeded":         {Unavailable, busyRemedy},
	"userRateLimitExceeded":     {Unavailable, busyRemedy},
	"quotaExceeded":             {Unavailable, busyRemedy},
	"userProjectMissing":        {Forbidden, billedRemedy},
	"userProjectAccountProblem": {Forbidden, "the project that is billed has no billing account"},
	"invalid_grant":             {Forbidden, "the key is deleted or expired, or the node's clock is wrong: create a new key, and check the clock"},
	"invalid_client":            {Forbidden, "the account of the credentials does not exist: create a new key"},
	"unauthorized_client":       {Forbidden, "the account may not ask for a token: check its roles"},
	"invalid_target":            {Forbidden, "check audience in the credentials file: the workload identity pool and provider"},
	"authError":                 {Forbidden, "the token is not valid or has expired: create a new key"},
	"UserProjectAccessDenied":   {Forbidden, "the account may not use the project that is billed"},
	"UserProjectInvalid":        {Forbidden, "the project that is billed does not exist"},
	"UserProjectMissing":        {Forbidden, billedRemedy},
	"UserProjectAccountProblem": {Forbidden, "the project that is billed has no billing account"},

	// Azure Blob Storage.
	"ContainerNotFound":                  {Missing, "check the container in storageUri"},
	"ContainerBeingDeleted":              {Missing, "the container is being deleted: check storageUri"},
	"BlobNotFound":                       {Missing, ""},
	"InvalidResourceName":                {Invalid, "correct the container in storageUri"},
	"OutOfRangeInput":                    {Invalid, "correct the container in storageUri"},
	"InvalidUri":                         {Invalid, ""},
	"AuthenticationFailed":               {Forbidden, "check that AZURE_STORAGE_ACCESS_KEY is a key of this account, that a signature (SAS) or token has not expired, and the node's clock"},
	"InvalidAuthenticationInfo":          {Forbidden, "the token is not valid or has expired: renew it in the secret"},
	"AuthorizationFailure":               {Forbidden, "the account's firewall or the rights of the signature refuse it: allow the cluster's network in the account"},
	"AuthorizationPermissionMismatch":    {Forbidden, "give the identity the role Storage Blob Data Reader on the container"},
	"AuthorizationProtocolMismatch":      {Forbidden, "the signature (SAS) does not allow this protocol"},
	"AuthorizationSourceIPMismatch":      {Forbidden, "the signature (SAS) does not allow the addresses of the cluster"},
	"KeyBasedAuthenticationNotPermitted": {Forbidden, "the account does not allow keys: use an identity (AZURE_CLIENT_ID)"},
	"AccountIsDisabled":                  {Forbidden, "the storage account is disabled: ask its administrator"},
	"PublicAccessNotPermitted":           {Forbidden, noCredentialsRemedy},
	"NoAuthenticationInformation":        {Forbidden, noCredentialsRemedy},
	"BlobArchived":                       {Invalid, "the blob is archived: rehydrate it, or move it to a tier that can be read"},
	"ServerBusy":                         {Unavailable, busyRemedy},
	"AccountBeingCreated":                {Unavailable, againRemedy},

	// The Hugging Face Hub.
	"RepoNotFound":     {Missing, "check storageUri; for a private or gated repository, put a token with access to it into a secret of the ServiceAccount (HF_TOKEN)"},
	"GatedRepo":        {Forbidden, "accept the conditions on the model's page with the account of HF_TOKEN, and wait for access to be granted"},
	"RevisionNotFound": {Missing, "check the revision in storageUri"},
	"EntryNotFound":    {Missing, ""},
	"DisabledRepo":     {Forbidden, "the Hub has disabled the repository"},
}

const (
	busyRemedy          = "the store limits the number of requests; the download is retried"
	noCredentialsRemedy = "the request was sent without credentials, because none are configured: add a secret with credentials to the ServiceAccount, " +
		"and check that it has the keys that this store needs"
)

func (r responseError) diagnose() diagnosis {
	found := r.explain()
	found.remedy = cmp.Or(r.remedy, found.remedy)
	return found
}

func (r responseError) explain() diagnosis {
	if known, ok := codes[r.code]; ok && r.location == "" {
		return known
	}
	if strings.Contains(r.message, "requester pays") {
		return codes["userProjectMissing"]
	}
	switch status := r.status; {
	case status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		return diagnosis{kind: Redirected}
	case status == http.StatusNotFound, status == http.StatusGone:
		return diagnosis{kind: Missing}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return diagnosis{kind: Forbidden}
	case status == http.StatusProxyAuthRequired:
		return diagnosis{Forbidden, "the proxy asks for credentials: check HTTPS_PROXY"}
	case status == http.StatusTooManyRequests:
		return diagnosis{Unavailable, busyRemedy}
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return diagnosis{Unavailable, againRemedy}
	case status == http.StatusPreconditionFailed, status == http.StatusRequestedRangeNotSatisfiable:
		return diagnosis{kind: Corrupt} // The object has changed since it was listed.
	case status < http.StatusInternalServerError:
		return diagnosis{Invalid, "the store refuses the request: check storageUri, the endpoint and the credentials"}
	}
	return diagnosis{kind: Unavailable}
}

var errTooManyRedirects = errors.New("too many redirects")

func diagnose(err error) diagnosis {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return diagnosis{kind: NoSpace}
	}
	if respErr, ok := responseErrorOf(err); ok {
		return respErr.diagnose()
	}
	if errors.Is(err, errTooManyRedirects) {
		return diagnosis{kind: Redirected}
	}
	if _, ok := errors.AsType[wrongRange](err); ok {
		return diagnosis{Unavailable, rangeRemedy}
	}
	if remedy := tlsRemedy(err); remedy != "" {
		return diagnosis{Unreachable, remedy}
	}
	_, isPath := errors.AsType[*fs.PathError](err)
	_, isLink := errors.AsType[*os.LinkError](err)
	switch {
	case isPath, isLink:
		return diagnosis{kind: Unwritable}
	case isNetworkError(err):
		return diagnosis{kind: Unreachable}
	}
	return diagnosis{kind: Unavailable}
}

func tlsRemedy(err error) string {
	_, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, isRecord := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case isCertificate, isUnknown:
		return "check the server's certificate; to trust your own authority for S3, " +
			"set the annotation serving.kserve.io/s3-cabundle-configmap of the secret"
	case isRecord, errors.Is(err, http.ErrSchemeMismatch):
		return "the server does not speak HTTPS: write http:// in the address, or set serving.kserve.io/s3-usehttps to \"0\""
	}
	return ""
}

func isNetworkError(err error) bool {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // A url.Error is always a net.Error, whatever it wraps.
	}
	_, isNet := errors.AsType[net.Error](err)
	_, isIdle := errors.AsType[idleError](err)
	_, isErrno := errors.AsType[syscall.Errno](err)
	return isNet || isIdle || isErrno ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}
