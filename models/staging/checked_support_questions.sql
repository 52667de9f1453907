{{ perennial.checked('support_questions') }}
