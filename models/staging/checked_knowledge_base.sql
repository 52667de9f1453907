{{ perennial.checked('knowledge_base') }}
