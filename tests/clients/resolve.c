// Resolves a name with the C library that it was compiled against, and prints what came of it as JSON.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  struct addrinfo hints, *found = NULL;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_STREAM;
  int code = getaddrinfo(argv[1], "443", &hints, &found);
  if (code != 0) {
    const char *name = code == EAI_NONAME  ? "EAI_NONAME"
                       : code == EAI_AGAIN ? "EAI_AGAIN"
                                           : gai_strerror(code);
    printf("{\"event\":\"unresolved\",\"error\":\"%s\"}\n", name);
    return 1;
  }
  printf("{\"event\":\"resolved\",\"addresses\":[");
  for (struct addrinfo *one = found; one; one = one->ai_next) {
    char text[64];
    getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    printf("%s\"%s\"", one == found ? "" : ",", text);
  }
  printf("]}\n");
  freeaddrinfo(found);
  return 0;
}
