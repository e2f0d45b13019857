// Draws the API's description with Swagger UI.
"use strict";
const place = document.getElementById("api");
SwaggerUIBundle({ url: place.dataset.document, domNode: place, deepLinking: true });
