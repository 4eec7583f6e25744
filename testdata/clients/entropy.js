"use strict"

// Specfify entropy token, requested size of entropy, and subdomain
let accesstoken = '{qrypt_access_token}'
let kibData = {kib_entropy}
let sub = '{subdomain}'

// Define the request URL
let url = `https://${sub}.qrypt.com/api/v1/quantum-entropy?size=${kibData}`

// Submit the request and process the response
fetch(url, {
    method: 'GET',
    headers: { 
      'Accept': 'application/json',
      'Authorization': "Bearer " + accesstoken 
    }
})
.then( response => response.json() )
.then( function ( json ) {

  // Display the entropy bytes
  json.random.forEach( b64 => 
    [...( atob( b64 ))].forEach( c => console.log( c.charCodeAt( 0 ))))
})
