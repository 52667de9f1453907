with checked as (
    {{ perennial.checked('support_questions') }}
)

select
    question_id,
    asked_at,
    body,
    customer_id,
    product_id
from checked
where refusal is null
