select
    question_id,
    asked_at,
    body,
    customer_id,
    product_id
from {{ ref('checked_support_questions') }}
where refusal is null
