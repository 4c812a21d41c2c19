// SoftHSM behind the manners of AWS CloudHSM (Client SDK 5), as far as the pkcs11 seal meets them: AES-GCM makes the IV
// itself, into a zeroed buffer (CKM_AES_GCM) or before the ciphertext (CKM_CLOUDHSM_AES_GCM, whose IV must be NULL);
// sessions must be read-write; there is no AES key wrap. SHIM_REFUSE_SESSIONS names a file; while it is there, opening a
// session answers that there are none left. SHIM_HANG names a file; while it is there, C_Encrypt does not answer.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <pkcs11.h>

#define VENDOR_GCM 0x80001087UL
#define IV_BYTES 12
#define SESSIONS 64

typedef struct { void *iv; CK_ULONG iv_len, iv_bits; void *aad; CK_ULONG aad_len, tag_bits; } gcm;

static CK_FUNCTION_LIST *real, ours;
static struct { CK_SESSION_HANDLE session; CK_OBJECT_HANDLE key; unsigned char iv[IV_BYTES], aad[512]; CK_ULONG aad_len; int used; } vendor[SESSIONS];

static int there(const char *variable) {
  const char *file = getenv(variable);
  return file && access(file, F_OK) == 0;
}

static int slot_of(CK_SESSION_HANDLE session) {
  for (int i = 0; i < SESSIONS; i++) if (vendor[i].used && vendor[i].session == session) return i;
  return -1;
}

static CK_RV begin_vendor(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) {
  gcm *sent = mechanism->pParameter;
  if (sent->iv || sent->aad_len > sizeof vendor[0].aad) return CKR_MECHANISM_PARAM_INVALID;
  for (int i = 0; i < SESSIONS; i++) {
    if (vendor[i].used) continue;
    vendor[i].session = session; vendor[i].key = key; vendor[i].used = 1; vendor[i].aad_len = sent->aad_len;
    memcpy(vendor[i].aad, sent->aad, sent->aad_len);
    return CKR_OK;
  }
  return CKR_SESSION_COUNT;
}

static CK_MECHANISM with_iv(int i, gcm *out) {
  *out = (gcm){ vendor[i].iv, IV_BYTES, IV_BYTES * 8, vendor[i].aad, vendor[i].aad_len, 128 };
  return (CK_MECHANISM){ CKM_AES_GCM, out, sizeof *out };
}

static CK_RV encrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) {
  if (mechanism->mechanism == VENDOR_GCM) return begin_vendor(session, mechanism, key);
  if (mechanism->mechanism == CKM_AES_GCM) {
    gcm *sent = mechanism->pParameter;
    for (CK_ULONG i = 0; i < sent->iv_len; i++) if (((unsigned char *)sent->iv)[i]) return CKR_MECHANISM_PARAM_INVALID;
    if (getrandom(sent->iv, sent->iv_len, 0) < 0) return CKR_DEVICE_ERROR;
  }
  return real->C_EncryptInit(session, mechanism, key);
}

static CK_RV encrypt(CK_SESSION_HANDLE session, unsigned char *in, CK_ULONG in_len, unsigned char *out, CK_ULONG *out_len) {
  while (there("SHIM_HANG")) usleep(10000);
  int i = slot_of(session);
  if (i < 0) return real->C_Encrypt(session, in, in_len, out, out_len);
  vendor[i].used = 0;
  gcm parameter;
  if (getrandom(vendor[i].iv, IV_BYTES, 0) < 0) return CKR_DEVICE_ERROR;
  CK_MECHANISM mechanism = with_iv(i, &parameter);
  CK_RV rv = real->C_EncryptInit(session, &mechanism, vendor[i].key);
  if (rv != CKR_OK) return rv;
  CK_ULONG left = *out_len - IV_BYTES;
  rv = real->C_Encrypt(session, in, in_len, out + IV_BYTES, &left);
  memcpy(out, vendor[i].iv, IV_BYTES);
  *out_len = left + IV_BYTES;
  return rv;
}

static CK_RV decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) {
  if (mechanism->mechanism == VENDOR_GCM) return begin_vendor(session, mechanism, key);
  return real->C_DecryptInit(session, mechanism, key);
}

static CK_RV decrypt(CK_SESSION_HANDLE session, unsigned char *in, CK_ULONG in_len, unsigned char *out, CK_ULONG *out_len) {
  int i = slot_of(session);
  if (i < 0) return real->C_Decrypt(session, in, in_len, out, out_len);
  vendor[i].used = 0;
  if (in_len < IV_BYTES) return CKR_ENCRYPTED_DATA_LEN_RANGE;
  gcm parameter;
  memcpy(vendor[i].iv, in, IV_BYTES);
  CK_MECHANISM mechanism = with_iv(i, &parameter);
  CK_RV rv = real->C_DecryptInit(session, &mechanism, vendor[i].key);
  return rv == CKR_OK ? real->C_Decrypt(session, in + IV_BYTES, in_len - IV_BYTES, out, out_len) : rv;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session) {
  if (there("SHIM_REFUSE_SESSIONS")) return CKR_SESSION_COUNT;
  if (!(flags & CKF_RW_SESSION)) return CKR_FUNCTION_NOT_SUPPORTED;
  return real->C_OpenSession(slot, flags, application, notify, session);
}

static CK_RV mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count) {
  CK_ULONG all;
  CK_RV rv = real->C_GetMechanismList(slot, NULL, &all);
  if (rv != CKR_OK) return rv;
  CK_MECHANISM_TYPE *have = malloc(all * sizeof *have);
  rv = real->C_GetMechanismList(slot, have, &all);
  CK_ULONG n = 0, room = *count;
  for (CK_ULONG i = 0; i < all; i++) {
    if (have[i] == CKM_AES_KEY_WRAP || have[i] == CKM_AES_KEY_WRAP_PAD) continue;
    if (list && n < room) list[n] = have[i];
    n++;
  }
  if (!getenv("SHIM_NO_VENDOR_GCM")) { if (list && n < room) list[n] = VENDOR_GCM; n++; }
  free(have);
  *count = n;
  return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
  void *library = dlopen(getenv("SHIM_LIBRARY"), RTLD_NOW);
  if (!library) return CKR_GENERAL_ERROR;
  CK_RV (*get)(CK_FUNCTION_LIST **) = (CK_RV (*)(CK_FUNCTION_LIST **))dlsym(library, "C_GetFunctionList");
  CK_RV rv = get(&real);
  if (rv != CKR_OK) return rv;
  ours = *real;
  ours.C_EncryptInit = encrypt_init;
  ours.C_Encrypt = encrypt;
  ours.C_DecryptInit = decrypt_init;
  ours.C_Decrypt = decrypt;
  ours.C_OpenSession = open_session;
  ours.C_GetMechanismList = mechanism_list;
  *list = &ours;
  return CKR_OK;
}
